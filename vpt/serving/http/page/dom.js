/* What the parts of the page are made of: text, never markup, since names, labels and messages come from others. */

export const byId = (id) => document.getElementById(id);

/** An element with these properties; children are elements, or strings, which become text. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** "1 task", "2 tasks". */
export const counted = (number, one, more = `${one}s`) => `${number} ${number === 1 ? one : more}`;

/** 0.123 as "12.3%". */
export const percent = (share) => `${(100 * share).toFixed(1)}%`;
