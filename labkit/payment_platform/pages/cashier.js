// One press is enough. The page works without this: pressing twice pays once anyway.
let sent = false;
const say = (pressed) => {
  sent = pressed;
  for (const button of document.querySelectorAll("button")) {
    button.setAttribute("aria-disabled", pressed);
  }
};
addEventListener("submit", (event) => (sent ? event.preventDefault() : say(true)));
addEventListener("pageshow", () => say(false));
