// The shop's page: products, cart, checkout and orders over the public API.
const $ = (id) => document.getElementById(id);
let session = JSON.parse(sessionStorage.getItem("session") || "null");
let cursor = "";

function notice(text, error = false) {
  $("notice").textContent = text;
  $("notice").className = error ? "error" : "";
}

function keep(tokens) {
  session = tokens;
  tokens ? sessionStorage.setItem("session", JSON.stringify(tokens)) : sessionStorage.removeItem("session");
}

// One place where requests leave: token, idempotency key, one refresh, and problems as errors.
async function api(method, path, body, { key, retried } = {}) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (session) headers.authorization = `Bearer ${session.access_token}`;
  if (key) headers["idempotency-key"] = `"${key}"`;
  const response = await fetch(`/api/v1${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (response.status === 401 && session && !retried && (await refresh())) return api(method, path, body, { key, retried: true });
  const answer = response.status === 204 ? {} : await response.json();
  if (!response.ok) throw Object.assign(new Error(explain(answer)), { status: response.status });
  return answer;
}

async function refresh() {
  const token = session.refresh_token;
  keep(null);
  const response = await fetch("/api/v1/auth/refresh", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ refresh_token: token }),
  });
  if (response.ok) keep(await response.json());
  showAccount();
  return response.ok;
}

function explain(problem) {
  const fields = (problem.errors || []).map((e) => `${e.pointer || ""} ${e.detail || ""}`.trim()).join("; ");
  return fields || problem.detail || problem.title || "something went wrong";
}

function element(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function button(text, action) {
  const made = element("button", text);
  made.addEventListener("click", () => attempt(action, made));
  return made;
}

async function attempt(action, control) {
  if (control) control.disabled = true;
  try {
    await action();
  } catch (error) {
    notice(error.message, true);
  } finally {
    if (control) control.disabled = false;
  }
}

async function showProducts(more = false) {
  const query = new URLSearchParams({ page_size: "12" });
  const words = new FormData($("search")).get("query");
  if (words) query.set("query", words);
  if (more) query.set("page_token", cursor);
  const page = await api("GET", `/products?${query}`);
  if (!more) $("products").replaceChildren();
  for (const product of page.products || []) $("products").append(card(product));
  cursor = page.next_page_token || "";
  $("more").hidden = !cursor;
}

function card(product) {
  const stock = product.inventory || 0;
  const add = button("Add to cart", async () => {
    if (!session) throw new Error("Sign in to fill a cart.");
    const cart = await api("GET", "/carts/me");
    const line = (cart.items || []).find((item) => item.product_id === product.id);
    showCart(await api("PUT", `/carts/me/items/${product.id}`, { quantity: (line ? line.quantity : 0) + 1 }));
    notice(`${product.name} is in your cart.`);
  });
  add.disabled = stock === 0;
  return element("li", "", element("h3", product.name), element("p", product.description),
    element("p", `${product.price} ${product.currency}`), element("p", stock ? `${stock} in stock` : "sold out"), add);
}

function showCart(cart) {
  const items = cart.items || [];
  $("cart").replaceChildren(...items.map((item) => element("li", `${item.quantity} × ${item.name}, ${item.total} `,
    button("Remove", async () => showCart(await api("PUT", `/carts/me/items/${item.product_id}`, { quantity: 0 }))))));
  $("subtotal").textContent = items.length ? `${cart.subtotal} ${cart.currency}` : "0";
  $("checkout").hidden = items.length === 0;
}

async function showOrders() {
  const { orders = [] } = await api("GET", "/orders?page_size=10");
  $("orders").replaceChildren(...orders.map((order) => {
    const line = element("li", `${order.id}: ${order.status}, ${order.total_amount} ${order.currency} `);
    if (order.status === "pending" || order.status === "confirmed") {
      line.append(button("Cancel", async () => {
        await api("POST", `/orders/${order.id}:cancel`, {});
        await showOrders();
      }));
    }
    return line;
  }));
}

async function showAccount() {
  $("login").hidden = Boolean(session);
  for (const id of ["signed-in", "cart-section", "orders-section"]) $(id).hidden = !session;
  if (!session) return;
  const me = await api("GET", "/users/me");
  $("who").textContent = me.name;
  showCart(await api("GET", "/carts/me"));
  await showOrders();
}

async function signIn() {
  const { email, password } = Object.fromEntries(new FormData($("login")));
  keep(await api("POST", "/auth/login", { email, password }));
  notice("");
  await showAccount();
}

let purchase = null; // One key per purchase: pressing twice, or after a lost answer, buys once.

async function buy() {
  const form = Object.fromEntries(new FormData($("checkout")));
  const pick = (...names) => Object.fromEntries(names.map((name) => [name, form[name]]));
  purchase ??= crypto.randomUUID();
  notice("Paying…");
  try {
    const answer = await api("POST", "/checkout", {
      shipping_address: pick("street", "city", "state", "zip", "country"),
      discount_code: form.discount_code,
      payment_method: "credit_card",
      payment_details: pick("card_number", "expiry_month", "expiry_year", "cvv"),
    }, { key: purchase });
    purchase = null;
    notice(answer.payment_status === "paid" ? `Order ${answer.order.id} is paid. A mail is on its way.`
      : `Order ${answer.order.id} is taken; the payment is pending and settles by itself.`);
  } catch (error) {
    if (error.status && error.status < 500 && error.status !== 409) purchase = null;
    throw error;
  } finally {
    await Promise.allSettled([showAccount(), showProducts()]);
  }
}

function on(id, event, action) {
  $(id).addEventListener(event, (happened) => {
    happened.preventDefault();
    attempt(action, happened.submitter);
  });
}

on("search", "submit", () => showProducts());
on("more", "click", () => showProducts(true));
on("login", "submit", signIn);
on("register", "click", async () => {
  if ($("name-field").hidden) {
    $("name-field").hidden = false;
    return;
  }
  const { name, email, password } = Object.fromEntries(new FormData($("login")));
  await api("POST", "/users", { name, email, password });
  await signIn();
});
on("logout", "click", async () => {
  await api("POST", "/auth/logout", {});
  keep(null);
  await showAccount();
});
on("checkout", "submit", buy);
attempt(showProducts);
attempt(showAccount);
