// The shop's own page shows the payment: the code as a picture, and what becomes of
// it as events. All that it needs is the bill's address.

const { qlink } = await (await fetch("/settings.json")).json();
const form = document.querySelector("form");
const figure = document.querySelector("figure");
const said = document.querySelector("[role=status]");
let events;

form.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  events?.close();
  try {
    const { order, signature } = await send("/sign", JSON.stringify({ quantity: form.elements.quantity.valueAsNumber }));
    follow(await send(`${qlink}/bills`, order, { "QLink-Signature": signature }));
  } catch (error) {
    said.textContent = error.message;
  }
});

async function send(url, body, headers) {
  const answer = await fetch(url, { method: "POST", body, headers: { "Content-Type": "application/json", ...headers } });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.detail ?? json.error ?? "Please try again.");
  return json;
}

// A browser that loses the connection comes back by itself, and is told what it
// has missed.
function follow(bill) {
  show(bill);
  events = new EventSource(`${qlink}/bills/${bill.id}/events`);
  events.addEventListener("bill", (event) => show(JSON.parse(event.data)));
}

const words = {
  CREATED: "One moment …", WAIT: "Scan the code with your wallet.", SUCCESS: "Paid, thank you.",
  FAIL: "That did not work. Please try again.", CANCELED: "Cancelled.", EXPIRED: "The time is over. Please try again.",
};

function show(bill) {
  said.textContent = words[bill.status] ?? bill.status;
  figure.hidden = bill.status !== "WAIT" || bill.action.kind !== "qr";
  if (!figure.hidden) figure.firstElementChild.src = `${qlink}/bills/${bill.id}/qr.svg`;
  if (bill.final) events?.close();
}
