/* Three ways in for files: dropped anywhere on the page, chosen, pasted. */

/** Hands every file to `take`, as an array; what is no picture the server refuses better than this page could. */
export function receive(input, take) {
  const hand = (files) => files.length && take([...files]);
  const brings = (event) => event.dataTransfer?.types.includes("Files");
  const over = (is) => document.body.classList.toggle("over", is);

  document.addEventListener("dragover", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? over(false));
  document.addEventListener("drop", (event) => {
    over(false);
    if (!brings(event)) return;
    event.preventDefault();
    hand(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => hand(event.clipboardData.files));
  input.addEventListener("change", () => {
    hand(input.files);
    input.value = ""; // so that the same file may be chosen again
  });
}
