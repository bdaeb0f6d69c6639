/* The page: pictures and chosen tasks; whatever has no answer yet is asked for, one picture after the other. */

import { forgetToken, hasToken, predict, setToken } from "./api.js";
import { byId } from "./dom.js";
import { receive } from "./files.js";
import { Picture } from "./picture.js";
import { TaskList, say } from "./tasks.js";

const FINAL = [413, 415, 422]; // the file is what is refused

let pictures = []; // newest first
let asking = false;
let locked = false; // until the server is given a token
const tasks = new TaskList(() => renew(pictures));

/** Shows these pictures' answers, and asks for those that are missing, after errors too. */
function renew(some) {
  for (const picture of some) {
    picture.failed = false;
    picture.show(tasks.chosen);
  }
  work();
}

async function work() {
  if (asking) return;
  asking = true;
  for (let next; (next = waiting()); ) await answer(next);
  asking = false;
}

function waiting() {
  if (locked) return undefined;
  return pictures.find((picture) => !picture.failed && picture.missing(tasks.chosen).length);
}

async function answer(picture) {
  const names = picture.missing(tasks.chosen).slice(0, tasks.atOnce); // the rest in further turns
  const begun = performance.now();
  try {
    const answers = await predict(picture.file, names);
    picture.take(answers, performance.now() - begun);
    picture.show(tasks.chosen);
    announce(picture, answers.map(({ task, classes }) => `${task}: ${classes[0]?.label}`).join("; "));
  } catch (refusal) {
    await refused(refusal, picture, names);
  }
}

/** Without a token, pictures wait for one; without a task, for the others; with anything else, for their owner. */
async function refused(refusal, picture, names) {
  if (refusal.status === 401) return lock(refusal.message);
  if (refusal.status === 404) {
    await reload();
    if (names.some((name) => !tasks.chosen.includes(name))) return;
  }
  picture.fail(refusal.message, !FINAL.includes(refusal.status));
  announce(picture, refusal.message);
}

/** Asks for the list again; answers of other versions than those listed are asked for again, too. */
async function reload() {
  try {
    await tasks.load();
  } catch (refusal) {
    if (refusal.status === 401) lock(refusal.message);
    else say(refusal.message);
    return;
  }
  locked = false;
  byId("door").hidden = true;
  byId("forget").hidden = !hasToken();
  for (const picture of pictures) picture.keep((answer) => tasks.lists(answer));
  renew(pictures.filter((picture) => !picture.failed));
}

function lock(why) {
  locked = true;
  byId("why").textContent = why;
  byId("door").hidden = false;
  byId("token").focus();
}

async function unlock(event) {
  event.preventDefault();
  setToken(byId("token").value);
  byId("token").value = "";
  await reload();
  if (!locked) byId("files").focus();
}

/** Tells those who listen. */
function announce(picture, text) {
  byId("said").textContent = `${picture.file.name}: ${text}`;
}

function add(files) {
  const made = files.map((file) => new Picture(file, { retry: (picture) => renew([picture]), remove }));
  pictures = [...made, ...pictures];
  byId("pictures").prepend(...made.map((picture) => picture.element));
  renew(made);
}

function remove(picture) {
  pictures = pictures.filter((other) => other !== picture);
  picture.element.remove();
  URL.revokeObjectURL(picture.url);
  byId("files").focus();
}

receive(byId("files"), add);
byId("reload").addEventListener("click", reload);
byId("door").addEventListener("submit", unlock);
byId("forget").addEventListener("click", () => {
  forgetToken();
  location.reload();
});
reload();
