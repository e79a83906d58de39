// Keeps the page fresh: asks for it again and takes over what has changed, part by part, so that
// focus, selection and a click that is under way stay. The page works without this.
"use strict";
const PERIOD = 700;
let turn = 0; // an older answer never replaces a newer one

const ask = (method, address, body) =>
  new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.responseType = "document"; // parsed, and nothing in it runs
    request.timeout = 15000;
    request.onload = () =>
      request.status === 200 ? resolve(request.responseXML) : reject(request.status);
    request.onerror = request.ontimeout = () => reject(0);
    request.send(body);
  });

const sameKind = (old, fresh) =>
  old && old.nodeName === fresh.nodeName && !old.id && !fresh.id;

const drop = (node) => {
  const next = node.nextSibling;
  node.remove();
  return next;
};

const morph = (old, fresh) => {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const stays = new Set([...fresh.children].map((one) => one.id));
  for (const one of [...old.children]) {
    if (one.id && !stays.has(one.id)) one.remove();
  }
  const named = new Map([...old.children].filter((one) => one.id).map((one) => [one.id, one]));
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const twin = named.get(child.id) || (sameKind(at, child) ? at : null);
    while (twin && at && at !== twin && !at.id) at = drop(at); // moved, it would lose its focus
    if (twin) morph(twin, child);
    if (twin && twin === at) at = at.nextSibling;
    else old.insertBefore(twin || document.importNode(child, true), at);
  }
  while (at) at = drop(at);
};

const show = (fresh) => {
  document.title = fresh.title;
  morph(document.querySelector("main"), fresh.querySelector("main"));
};

const lost = (status) => {
  if (status === 403) location.reload(); // the lab has another token by now
  const banner = document.getElementById("lost");
  if (banner) banner.hidden = false;
};

const look = async () => {
  const mine = turn;
  try {
    const fresh = await ask("GET", location.href);
    if (mine === turn) show(fresh);
  } catch (status) {
    lost(status);
  }
};

const watch = async () => {
  if (!document.hidden) await look();
  setTimeout(watch, PERIOD);
};

addEventListener("submit", async (event) => {
  event.preventDefault();
  const { target: form, submitter: button } = event;
  if (button.getAttribute("aria-disabled")) return;
  turn += 1;
  button.setAttribute("aria-disabled", "true");
  try {
    const fresh = await ask("POST", form.action, new URLSearchParams(new FormData(form)));
    turn += 1;
    show(fresh);
    if (!button.isConnected) document.getElementById("outcome").focus();
  } catch (status) {
    lost(status);
  }
  button.removeAttribute("aria-disabled");
});
setTimeout(watch, PERIOD);
