/* Where the class token looks: a small grid of numbers, as colours over the picture. */

import { element, percent } from "./dom.js";

const STOPS = [[17, 12, 48], [96, 28, 110], [190, 52, 90], [240, 118, 40], [252, 190, 60], [255, 250, 190]];
const SCALE = [Array.from({ length: 64 }, (_, i) => i)];

/** The map of one picture, to be laid over it, and the caption that says what it shows. */
export class AttentionMap {
  map = element("canvas", { className: "map", hidden: true });
  caption = element("figcaption", { className: "soft" });
  #strength = element("input", { type: "range", min: "0", max: "100", value: "50" });
  #scale = element("canvas", { className: "scale", ariaHidden: "true" });

  constructor() {
    paint(this.#scale, SCALE);
    this.#strength.addEventListener("input", () => this.#cover());
    this.#cover();
  }

  /** rows: [H', W'] by that task; null where the model has no such map. */
  show(task, rows) {
    this.map.hidden = rows === null;
    if (rows === null) {
      this.caption.replaceChildren("This model has no attention map.");
      return;
    }
    paint(this.map, rows);
    const all = percent(rows.flat().reduce((sum, value) => sum + value, 0));
    this.caption.replaceChildren(
      element("div", { className: "line" }, "0", this.#scale, `${percent(largest(rows))} a patch`),
      element("p", {}, `Where the class token looks in the last block, by ${task}: ${all} at the picture, the rest ` +
        "at prompts and at other tokens."),
      element("label", { className: "line" }, "Map", this.#strength),
    );
  }

  hide() {
    this.map.hidden = true;
    this.caption.replaceChildren();
  }

  #cover() {
    this.map.style.opacity = this.#strength.value / 100;
  }
}

/** Paints a pixel per number, the largest the lightest; the browser smooths what it enlarges. */
function paint(canvas, rows) {
  [canvas.height, canvas.width] = [rows.length, rows[0].length];
  const image = new ImageData(canvas.width, canvas.height);
  const most = largest(rows) || 1;
  rows.flat().forEach((value, i) => image.data.set([...colour(value / most), 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const largest = (rows) => Math.max(...rows.flat());

/** Red, green and blue of a value in [0, 1], from dark to light. */
function colour(value) {
  const place = value * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[low].map((from, channel) => from + (STOPS[low + 1][channel] - from) * (place - low));
}
