// Draw, drop, paste or photograph; after every stroke the picture goes to /predict and the answer is shown.

const SIDE = 280; // pixels of a drawing that is sent
const PEN = 0.065; // of the paper's side
const STEP = 0.04; // of the paper's side: one press of an arrow key
const MOST_BARS = 12; // of more classes than these the likeliest are shown
const LARGE = 2048; // pixels: of a larger photo the predictor uses no more, so no more is sent

const find = (id) => document.getElementById(id);
const paper = find("paper");
const brush = paper.getContext("2d");
const dark = matchMedia("(prefers-color-scheme: dark)");

let strokes = []; // lists of [x, y], each in 0..1
let picture = null; // what is shown instead of strokes: a bitmap, or a file that the browser cannot draw
let pen = null; // of the keyboard: {x, y, isDown}
let pointer = null; // the one that draws
let labels = [];
let size = [28, 28]; // of what the network sees: height, width
let drawsDigits = true; // or takes pictures of anything else

// The paper.

function trace(context, side, color) {
  Object.assign(context, { lineWidth: PEN * side, lineCap: "round", lineJoin: "round", strokeStyle: color });
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(stroke[0][0] * side, stroke[0][1] * side);
    for (const [x, y] of stroke) context.lineTo(x * side, y * side);
    context.stroke();
  }
}

function redraw() {
  const side = paper.width;
  const color = getComputedStyle(paper).getPropertyValue("--pen");
  brush.clearRect(0, 0, side, side);
  if (picture instanceof ImageBitmap) {
    const scale = side / Math.max(picture.width, picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    brush.drawImage(picture, (side - width) / 2, (side - height) / 2, width, height);
  } else if (picture) {
    Object.assign(brush, { fillStyle: color, font: "28px system-ui, sans-serif", textAlign: "center" });
    brush.fillText(picture.name, side / 2, side / 2, side * 0.9);
  }
  trace(brush, side, color);
  if (pen) {
    Object.assign(brush, { lineWidth: 3, strokeStyle: getComputedStyle(paper).getPropertyValue("--blue") });
    brush.beginPath();
    brush.arc(pen.x * side, pen.y * side, pen.isDown ? 10 : 18, 0, 2 * Math.PI);
    brush.stroke();
  }
}

function drawing() {
  const sheet = new OffscreenCanvas(SIDE, SIDE);
  const context = sheet.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SIDE, SIDE);
  trace(context, SIDE, "#000");
  return sheet.convertToBlob({ type: "image/png" });
}

function begin(x, y) {
  if (!drawsDigits) return;
  picture = null;
  strokes.push([[x, y]]);
  redraw();
}

function goOn(x, y) {
  strokes.at(-1)?.push([x, y]);
  redraw();
}

function clear() {
  [strokes, picture, pen] = [[], null, pen && { ...pen, isDown: false }];
  redraw();
  forget();
}

function undo() {
  if (picture) return clear();
  strokes.pop();
  if (pen) pen.isDown = false;
  redraw();
  return strokes.length ? predict(drawing) : forget();
}

function place(event) {
  const box = paper.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

paper.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button) return;
  pointer = event.pointerId;
  paper.setPointerCapture(pointer);
  pen = null;
  begin(...place(event));
});
paper.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  const passed = event.getCoalescedEvents?.() ?? [];
  for (const one of passed.length ? passed : [event]) goOn(...place(one));
});
for (const end of ["pointerup", "pointercancel"]) {
  paper.addEventListener(end, (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    if (drawsDigits) predict(drawing);
  });
}

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const clip = (value) => Math.min(1, Math.max(0, value));

paper.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (!drawsDigits && event.key !== "Delete" && event.key !== "Backspace") return;
  if (event.key in MOVES) {
    const [right, down] = MOVES[event.key];
    pen ??= { x: 0.5, y: 0.5, isDown: false };
    [pen.x, pen.y] = [clip(pen.x + right * STEP), clip(pen.y + down * STEP)];
    if (pen.isDown) goOn(pen.x, pen.y);
  } else if (event.key === " ") {
    pen ??= { x: 0.5, y: 0.5, isDown: false };
    pen.isDown = !pen.isDown;
    if (pen.isDown) begin(pen.x, pen.y);
    else predict(drawing);
  } else if (event.key === "Delete") clear();
  else if (event.key === "Backspace") undo();
  else return;
  event.preventDefault();
  redraw();
});
paper.addEventListener("blur", () => {
  if (pen?.isDown) predict(drawing);
  pen = null;
  redraw();
});

find("clear").addEventListener("click", clear);
find("undo").addEventListener("click", undo);
dark.addEventListener("change", redraw);

// Pictures.

async function show(file) {
  strokes = [];
  const bitmap = await createImageBitmap(file).catch(() => null); // a TIFF, say: the server may read it all the same
  picture = bitmap ?? file;
  redraw();
  const isLarge = bitmap && Math.max(bitmap.width, bitmap.height) > LARGE;
  predict(async () => (isLarge ? smaller(bitmap) : file));
}

function smaller(bitmap) {
  const scale = LARGE / Math.max(bitmap.width, bitmap.height);
  const sheet = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  const context = sheet.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, sheet.width, sheet.height);
  return sheet.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

for (const id of ["picture", "photo"]) {
  find(id).addEventListener("change", ({ target }) => {
    if (target.files.length) show(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
}
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (event.dataTransfer.files.length) show(event.dataTransfer.files[0]);
  else complain("That is no file; drop an image file.");
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) show(event.clipboardData.files[0]);
});

// Predictions: one at a time, and always of what was drawn last.

let next = null;
let isAsking = false;
let asked = 0; // grows when what was asked for no longer matters

async function predict(make) {
  next = make;
  asked += 1;
  if (isAsking) return;
  isAsking = true;
  while (next) {
    const [wanted, number] = [next, asked];
    next = null;
    try {
      const [answer, tookMs] = await ask(await wanted());
      if (number === asked) tell(answer, tookMs);
    } catch (error) {
      if (number === asked) {
        empty();
        complain(error.message);
      }
    }
  }
  isAsking = false;
}

async function ask(image) {
  const started = performance.now();
  let response;
  try {
    const headers = { "Content-Type": image.type.startsWith("image/") ? image.type : "image/unknown" };
    response = await fetch("/predict?pixels=1", { method: "POST", headers, body: image });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
  return [answer, performance.now() - started];
}

function tell(answer, tookMs) {
  complain("");
  find("label").textContent = answer.label;
  find("label").classList.toggle("name", answer.label.length > 2);
  find("probability").textContent = `with probability ${percent(answer.probability)}`;
  find("trust").hidden = false;
  find("trust").textContent = answer.accepted ? "Accepted" : "Rejected";
  find("trust").className = answer.accepted ? "accepted" : "rejected";
  find("reason").textContent = answer.reason;
  bars(answer.probabilities, answer.label);
  look(answer.pixels, answer.label);
  times({ ...answer.timings_us, "there and back": tookMs * 1000 });
}

function bars(probabilities, best) {
  let rows = Object.entries(probabilities);
  if (rows.length > MOST_BARS) rows = rows.sort((one, other) => other[1] - one[1]).slice(0, MOST_BARS);
  if (find("bars").children.length !== rows.length) find("bars").replaceChildren(...rows.map(row));
  [...find("bars").children].forEach((item, number) => {
    const [label, probability] = rows[number];
    const [name, track, share] = item.children;
    name.textContent = label;
    track.firstChild.style.width = `${100 * clip(probability)}%`;
    share.textContent = percent(probability);
    item.classList.toggle("best", label === best);
  });
}

function row() {
  const item = document.createElement("li");
  for (const kind of ["name", "track", "share"]) {
    const part = item.appendChild(document.createElement("span"));
    part.className = kind;
    if (kind === "track") part.appendChild(document.createElement("div")).className = "bar";
  }
  return item;
}

function look(pixels, label) {
  const seen = find("seen");
  [seen.height, seen.width] = size;
  const image = new ImageData(seen.width, seen.height);
  pixels?.flat().forEach((level, number) => {
    const color = Array.isArray(level) ? level : [level, level, level];
    image.data.set([...color, 255], 4 * number);
  });
  seen.getContext("2d").putImageData(image, 0, 0);
  seen.setAttribute("aria-label", pixels ? `The ${label} that the network saw` : "Nothing yet");
}

function times(timings) {
  const parts = Object.entries(timings).flatMap(([step, us]) => {
    const [term, value] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = step;
    value.textContent = `${(us / 1000).toFixed(us < 1000 ? 2 : 1)} ms`;
    return [term, value];
  });
  find("times").replaceChildren(...parts);
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function complain(message) {
  find("error").textContent = message;
  find("error").hidden = !message;
}

function empty() {
  find("label").textContent = "?";
  find("probability").textContent = "nothing read yet";
  find("trust").hidden = true;
  find("reason").textContent = "";
  bars(Object.fromEntries(labels.map((label) => [label, 0])), null);
  look(null, "");
  times({});
}

function forget() {
  [next, asked] = [null, asked + 1];
  empty();
  complain("");
}

// The start.

function invitePictures() {
  find("title").textContent = document.title = "Show a picture";
  paper.setAttribute("aria-label", "The picture");
  find("undo").hidden = true;
  find("keys").textContent = "Choose, drop or paste a picture. Delete clears.";
}

forget();
redraw();
try {
  const health = await (await fetch("/health")).json();
  labels = health.labels;
  size = health.input.slice(0, 2);
  drawsDigits = health.reads === "digits";
  find("size").textContent = size.join("x");
  if (!drawsDigits) invitePictures();
  find("model").textContent = `${health.model}, computed by ${health.runtime}`;
  if (!find("bars").children.length) empty();
} catch {
  complain("The server does not answer. Is it still running?");
}
