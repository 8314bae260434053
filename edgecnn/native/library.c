/* What a program that loads libmodel.so cannot read from model.h: the names begin with edgecnn_, whatever the model's. */

#include "about.h"

/* All of `abi` 2; edgecnn/device/files.py has the number too. */
struct edgecnn_description {
    int32_t abi;
    int32_t height, width, channels, scores;
    int32_t arena_bytes, arena_alignment;
    int32_t pixels_are_int8, scores_are_int8; /* else uint8 */
    float input_scale;
    int32_t input_zero_point;
    float output_scale;
    int32_t output_zero_point;
    const char *name;     /* of the functions in model.h: model_predict */
    const char *version;  /* the sha256 of the .tflite file that the model was made from */
    const char *contract; /* what model_contract returns */
};

/* Fill `d` with what the model is. */
__attribute__((visibility("default"))) void edgecnn_describe(struct edgecnn_description *d)
{
    struct model_tensor input = model_input(), output = model_output();
    d->abi = 2;
    d->height = MODEL_HEIGHT;
    d->width = MODEL_WIDTH;
    d->channels = MODEL_CHANNELS;
    d->scores = MODEL_SCORES;
    d->arena_bytes = MODEL_ARENA_BYTES;
    d->arena_alignment = MODEL_ARENA_ALIGNMENT;
    d->pixels_are_int8 = (model_pixel)-1 < 0;
    d->scores_are_int8 = (model_score)-1 < 0;
    d->input_scale = input.scale;
    d->input_zero_point = input.zero_point;
    d->output_scale = output.scale;
    d->output_zero_point = output.zero_point;
    d->name = MODEL_NAME;
    d->version = model_version();
    d->contract = model_contract();
}
