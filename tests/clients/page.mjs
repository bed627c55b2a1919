// A visitor of the page in Debian's Chromium: `page.mjs FLOW`, with ORIGIN, TOKEN and SHOTS in the environment.
//
// Every flow fails on an error in the console, on anything that the content security policy stops, and on a request that
// fails. What it saw is printed as one line of JSON.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { ORIGIN, TOKEN, SHOTS } = process.env;
const BOUND = 60_000;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const [flow, ...parameters] = process.argv.slice(2);

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  // Tests may run as root in a container, which has no user namespaces to spare.
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});

const faults = [];

// A window of its own, with everything that goes wrong in it noted.
const visit = async (options = {}, other = ORIGIN) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(BOUND);
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    // A form that is shown again is an answer 422, and a page that is not there 404: the browser calls both an error.
    if (message.type() === "error" && !/status of 4(22|04|01)/.test(message.text())) faults.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`${page.url()}: ${error.message}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(ORIGIN) && !request.url().startsWith(other)) faults.push(`another host: ${request.url()}`);
  });
  return page;
};

const signIn = async (page, path = "/") => {
  await page.goto(`${ORIGIN}${path}`);
  await page.getByLabel("Token").fill(TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
};

// axe-core runs in the page; the policy that forbids scripts from elsewhere does not concern the debugger.
const axed = async (page, where) => {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  for (const violation of violations.filter(({ impact }) => impact === "serious" || impact === "critical")) {
    for (const node of violation.nodes.slice(0, 3)) {
      faults.push(`${where}: axe ${violation.impact} ${violation.id}: ${node.target.join(" ")}: ${node.failureSummary.replaceAll("\n", " ")}`);
    }
  }
  return violations.length;
};

// What must be done on a page before it is looked at.
const staged = {
  async "preflight-refused"(page) {
    await page.getByLabel("Endpoint", { exact: true }).fill("https://not a host");
    await page.getByLabel("Path", { exact: true }).fill("kms/xks/v1");
    await page.getByLabel("Access key id", { exact: true }).fill("too short");
    await page.getByRole("button", { name: "Pre-flight" }).click();
    await page.getByText("Not taken.").waitFor();
  },
  async "freezes-refused"(page) {
    await page.locator("summary", { hasText: "Freeze changes" }).click();
    await page.getByLabel("Or until exactly").fill("tomorrow");
    await page.getByRole("button", { name: "Yes, freeze changes" }).click();
    await page.getByText("Not taken.").waitFor();
  },
  async "preflight-glass"(page) {
    await page.locator("summary", { hasText: "Ask for this update" }).click();
  },
  async "report-folded"(page) {
    for (const summary of await page.locator("main details > summary").all()) await summary.click();
  },
};

const flows = {
  // Every page that is named, in both themes, wide and narrow.
  async look(...pages) {
    let looked = 0;
    for (const colorScheme of ["light", "dark"]) {
      for (const [name, viewport] of [["wide", { width: 1280, height: 900 }], ["narrow", { width: 390, height: 844 }]]) {
        const page = await visit({ colorScheme, viewport });
        let known = false;
        for (const named of pages) {
          const [title, path] = [named.slice(0, named.indexOf("=")), named.slice(named.indexOf("=") + 1)];
          if (title === "sign-in" || known) await page.goto(`${ORIGIN}${path}`);
          else {
            await signIn(page, path);
            known = true;
          }
          await staged[title]?.(page);
          const where = `${title} ${colorScheme} ${name}`;
          await axed(page, where);
          const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          if (wider > 0) faults.push(`${where}: ${wider} pixels wider than the window`);
          await page.screenshot({ path: join(SHOTS, `${title}-${colorScheme}-${name}.png`), fullPage: true });
          looked += 1;
        }
        await page.context().close();
      }
    }
    return { looked };
  },

  // Drops the console's file on the form, pre-flights, and reads what came of it.
  async preflight(keyStore, endpoint, file) {
    const page = await visit();
    await signIn(page, `/preflights?key_store=${keyStore}`);
    const transfer = await page.evaluateHandle((text) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([text], "proxy.json", { type: "application/json" }));
      return transfer;
    }, readFileSync(file, "utf8"));
    await page.dispatchEvent("[data-drop]", "drop", { dataTransfer: transfer });
    await page.getByText("fields are filled in").waitFor();
    const secret = await page.getByLabel("Raw secret access key").inputValue();
    await page.getByLabel("Endpoint", { exact: true }).fill("https://not a host");
    await page.getByRole("button", { name: "Pre-flight" }).click();
    // Refused: the form comes back with everything but the secret.
    await page.getByText("Not taken.").waitFor();
    const kept = await page.getByLabel("Access key id").inputValue();
    const emptied = await page.getByLabel("Raw secret access key").inputValue();
    await axed(page, "a refused form");
    await page.screenshot({ path: join(SHOTS, "preflight-refused.png"), fullPage: true });
    await page.getByLabel("Endpoint", { exact: true }).fill(endpoint);
    await page.getByLabel("Raw secret access key").fill(secret);
    await page.getByRole("button", { name: "Pre-flight" }).click();
    await page.getByRole("region", { name: "Verdict" }).waitFor();
    const text = await page.locator("main").innerText();
    const leaks = (await page.content()).includes(secret);
    return { kept, emptied, leaks, url: new URL(page.url()).pathname, text };
  },

  // Gives an order about an update and watches, without loading the page anew, until it shows a status.
  async order(update, order, status) {
    const page = await visit();
    await signIn(page, `/updates/${update}`);
    let loads = 0;
    page.on("load", () => (loads += 1));
    await page.locator(`#order-${order} > summary`).click();
    const known = page.locator(`#order-${order} input[type=checkbox]`);
    if ((await known.count()) > 0) await known.check();
    await axed(page, `the question ${order}`);
    await page.screenshot({ path: join(SHOTS, `order-${order}.png`), fullPage: true });
    await page.locator(`#order-${order} button[type=submit]`).click();
    await page.locator("[data-update] [role=status]", { hasText: status }).waitFor();
    await page.screenshot({ path: join(SHOTS, `order-${order}-done.png`), fullPage: true });
    return { loads, text: await page.locator("main").innerText() };
  },

  // Freezes changes from the overview on, is told what is wrong first, and reads the banner where others look.
  async freeze(keyStore) {
    const page = await visit();
    await signIn(page);
    await page.getByRole("link", { name: "Freezes" }).click();
    await page.locator("summary", { hasText: "Freeze changes" }).click();
    await page.getByLabel("For how long").selectOption("4");
    await page.getByLabel("Or until exactly").fill("2999-01-01T00:00:00Z");
    await page.getByRole("button", { name: "Yes, freeze changes" }).click();
    const refused = [await page.locator("#until-fault").innerText()];
    await page.getByLabel("For how long").selectOption("");
    await page.getByLabel("Or until exactly").fill("tomorrow");
    await page.getByRole("button", { name: "Yes, freeze changes" }).click();
    for (const field of ["reason", "until"]) refused.push(await page.locator(`#${field}-fault`).innerText());
    const kept = await page.getByLabel("Or until exactly").inputValue();
    await axed(page, "a refused freeze");
    await page.getByLabel("Why").fill("quarter <b>end</b>");
    await page.getByLabel("For how long").selectOption("4");
    await page.getByLabel("Or until exactly").fill("");
    await page.getByRole("button", { name: "Yes, freeze changes" }).click();
    await page.getByText("No change may begin of any key store").waitFor();
    const banners = [];
    for (const path of ["/", `/key-stores/${keyStore}`]) {
      await page.goto(`${ORIGIN}${path}`);
      banners.push(await page.locator("main").innerText());
    }
    return { refused, kept, banners };
  },

  // Lifts every freeze that is shown.
  async lift() {
    const page = await visit();
    await signIn(page, "/freezes");
    await page.locator("summary", { hasText: "Lift" }).click();
    await page.getByRole("button", { name: "Yes, lift the freeze" }).click();
    await page.getByText("No freeze is in force").waitFor();
    return {};
  },

  // Asks for an update by breaking the glass, and watches it to its end.
  async glass(keyStore, endpoint, reason) {
    const page = await visit();
    await signIn(page, `/preflights?key_store=${keyStore}`);
    await page.getByLabel("Endpoint", { exact: true }).fill(endpoint);
    await page.locator("summary", { hasText: "Ask for this update" }).click();
    // Without a reason nothing is broken, and a reason alone breaks nothing.
    await page.getByRole("button", { name: "Yes, break the glass" }).click();
    const refused = [await page.locator("#glass-reason-fault").innerText()];
    await page.getByLabel("Why the glass is broken").fill(reason);
    await page.getByRole("button", { name: "Ask for this update", exact: true }).click();
    refused.push(await page.locator("#glass-reason-fault").innerText());
    await axed(page, "a glass that is not broken");
    await page.getByLabel("I know that the keys are out of use").check();
    await page.getByRole("button", { name: "Yes, break the glass" }).click();
    await page.locator("[data-update] [role=status]", { hasText: "verified" }).waitFor();
    return { refused, text: await page.locator("main").innerText() };
  },

  // Is refused by a provider once, signs in there, looks at a page, and signs out.
  async provider(provider, who, path) {
    const page = await visit({}, provider);
    await page.goto(`${ORIGIN}${path}`);
    await axed(page, "signing in at a provider");
    await page.screenshot({ path: join(SHOTS, "sign-in-provider.png"), fullPage: true });
    await page.getByRole("link", { name: "Sign in with People" }).click();
    await page.getByRole("link", { name: "Refuse" }).click();
    const refused = await page.getByRole("alert").innerText();
    await axed(page, "being refused by a provider");
    await page.getByRole("link", { name: "Sign in with People" }).click();
    await page.getByRole("link", { name: `Continue as ${who}` }).click();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    const url = new URL(page.url()).pathname;
    const name = await page.locator(".who > span").innerText();
    const buttons = await page.locator("main button, main summary.button, main a.button").allInnerTexts();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    await page.goto(`${ORIGIN}${path}`);
    return { refused, who: name, url, buttons, after: new URL(page.url()).pathname };
  },

  // What a visitor may press on a page.
  async buttons(path) {
    const page = await visit();
    await signIn(page, path);
    return { buttons: await page.locator("main button, main summary.button, main a.button").allInnerTexts(), text: await page.locator("main").innerText() };
  },

  // By keyboard alone: the first stop skips to the content, the toggle changes the theme and it stays.
  async keyboard() {
    const page = await visit({ colorScheme: "light" });
    await signIn(page);
    await page.goto(`${ORIGIN}/`);
    await page.keyboard.press("Tab");
    const first = await page.evaluate(() => document.activeElement.textContent);
    await page.keyboard.press("Enter");
    const skipped = await page.evaluate(() => document.activeElement.id);
    await page.locator("[data-theme-toggle]").focus();
    await page.keyboard.press("Space");
    await page.reload();
    return { first, skipped, theme: await page.evaluate(() => document.documentElement.dataset.theme) };
  },
};

try {
  const seen = await flows[flow](...parameters);
  console.log(JSON.stringify({ ...seen, faults }));
} catch (error) {
  console.log(JSON.stringify({ faults: [...faults, String(error)] }));
} finally {
  await browser.close();
}
