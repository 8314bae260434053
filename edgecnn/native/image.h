/* Images of the model's size in formats that need no library: PGM (P5 and P2), PPM (P6) and the pixels alone.
 *
 * Needs about.h; touches nothing but its arguments. A model that takes no pictures is given its input as it stores it. */

#ifndef EDGECNN_IMAGE_H
#define EDGECNN_IMAGE_H

#include <stddef.h>
#include <stdint.h>

enum { IMAGE_BYTES_MOST = 4096 + 16 * PIXELS }; /* of a file: P2 with room for spaces and comments */

#define IN_QUOTES(number) #number
#define AS_STRING(number) IN_QUOTES(number)
#define IMAGE_SIZE AS_STRING(MODEL_WIDTH) "x" AS_STRING(MODEL_HEIGHT)

/* What a file must be, for who gave another. */
#if !MODEL_TAKES_PICTURES
#define IMAGE_EXPECTED \
    "the input alone, as the model stores it: " AS_STRING(MODEL_HEIGHT) "x" AS_STRING(MODEL_WIDTH) "x" \
    AS_STRING(MODEL_CHANNELS) " bytes"
#elif MODEL_CHANNELS == 1
#define IMAGE_EXPECTED "a PGM, or pixels alone, of " IMAGE_SIZE
#else
#define IMAGE_EXPECTED "a PPM (P6), or RGB pixels alone, of " IMAGE_SIZE
#endif

/* Copy what a file of nothing else holds; return whether it is one. */
static int read_alone(const uint8_t *content, size_t bytes, uint8_t *pixels)
{
    if (bytes != PIXELS) /* no PGM or PPM of that many pixels is as small */
        return 0;
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = content[i];
    return 1;
}

#if !MODEL_TAKES_PICTURES

static const char *read_image(const uint8_t *content, size_t bytes, uint8_t *pixels)
{
    return read_alone(content, bytes, pixels) ? NULL : "is of another size than the model's input";
}

#else

struct text {
    const uint8_t *at, *end;
};

static int is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_comments(struct text *text)
{
    while (text->at < text->end && (is_space(*text->at) || *text->at == '#')) {
        if (*text->at == '#')
            while (text->at < text->end && *text->at != '\n' && *text->at != '\r')
                text->at++;
        else
            text->at++;
    }
}

/* The next whole number, behind white space and comments; -1 where there is none. */
static int next_number(struct text *text)
{
    int number = 0, digits = 0;
    skip_comments(text);
    for (; text->at < text->end && *text->at >= '0' && *text->at <= '9' && digits < 6; text->at++, digits++)
        number = 10 * number + (*text->at - '0');
    return digits && (text->at == text->end || is_space(*text->at) || *text->at == '#') ? number : -1;
}

static const char *read_samples(struct text *text, uint8_t *pixels)
{
    for (int i = 0; i < PIXELS; i++) {
        int value = next_number(text);
        if (value < 0)
            return "is cut short, or holds what is no number";
        if (value > 255)
            return "holds a value above its maximum";
        pixels[i] = (uint8_t)value;
    }
    return NULL;
}

/* What is wrong with the kind of a file, '2', '5' or '6' as its second byte says, or NULL. */
static const char *wrong_kind(const uint8_t *content, size_t bytes)
{
    int is_image = bytes >= 3 && content[0] == 'P' && is_space(content[2]);
    if (is_image && (content[1] == '5' || content[1] == '2'))
        return MODEL_CHANNELS == 1 ? NULL : "is gray, and the model's pictures are in color";
    if (is_image && content[1] == '6')
        return MODEL_CHANNELS == 3 ? NULL : "is in color, and the model's pictures are gray";
    return MODEL_CHANNELS == 1 ? "is neither a PGM (P5 or P2) nor the pixels alone" : "is neither a PPM (P6) nor the pixels alone";
}

/* Read the content of an image file; return what is wrong with it, or NULL: then `pixels` hold the image, red first. */
static const char *read_image(const uint8_t *content, size_t bytes, uint8_t *pixels)
{
    struct text text = {content + 2, content + bytes};
    const char *wrong = read_alone(content, bytes, pixels) ? NULL : wrong_kind(content, bytes);
    if (wrong || bytes == PIXELS)
        return wrong;
    if (next_number(&text) != MODEL_WIDTH || next_number(&text) != MODEL_HEIGHT)
        return "is of another size than the model's";
    if (next_number(&text) != 255)
        return "has another maximum than 255";
    if (content[1] == '2')
        return read_samples(&text, pixels);
    if (text.at < text.end && !is_space(*text.at))
        return "has no white space behind its maximum";
    if (text.end - text.at <= PIXELS) /* one white space belongs to the header */
        return "is cut short";
    for (int i = 0; i < PIXELS; i++)
        pixels[i] = text.at[1 + i];
    return NULL;
}

#endif

#endif
