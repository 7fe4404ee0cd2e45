// A home's NAT from JavaScript, without packages: node --test nat.test.mjs
import assert from "node:assert/strict";
import net from "node:net";
import { createInterface } from "node:readline";
import test from "node:test";

/** A lab of its own; it ends with the connection. */
class Lab {
  #socket = net.connect(process.env.PATCHBAY_CONTROL);
  #waiting = new Map();
  #id = 0;

  constructor() {
    createInterface({ input: this.#socket }).on("line", (line) => {
      const { id, result, error } = JSON.parse(line);
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) reject(new Error(`${error.kind}: ${error.message}`));
      else resolve(result);
    });
  }

  ask(method, params = {}) {
    const id = ++this.#id;
    this.#socket.write(`${JSON.stringify({ id, method, params })}\n`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  close() {
    this.#socket.end();
  }
}

const ECHO = `require("node:net").createServer((c) => c.end(c.remoteAddress)).listen(7, "0.0.0.0", () => console.log("ready"))`;
const FETCH = `require("node:net").connect(7, process.argv[1]).pipe(process.stdout)`;

for (const nat of ["home", "cgnat", "none"]) {
  test(`what a server sees of a laptop behind NAT ${nat}`, { concurrency: true }, async (t) => {
    const lab = new Lab();
    t.after(() => lab.close());
    // Requests are carried out in order: there is no need to wait for each.
    const [, router, server, laptop] = await Promise.all([
      lab.ask("add_router", { name: "dc" }),
      lab.ask("add_router", { name: "home", nat }),
      lab.ask("add_device", { name: "server", router: "dc" }),
      lab.ask("add_device", { name: "laptop", router: "home" }),
    ]);
    const { pid } = await lab.ask("spawn", { node: "server", argv: [process.execPath, "-e", ECHO] });
    await lab.ask("wait_output", { pid, pattern: "ready", timeout_s: 60 });
    const argv = [process.execPath, "-e", FETCH, server.ip];
    const { stdout } = await lab.ask("run", { node: "laptop", argv, timeout_s: 60 });
    assert.equal(stdout, nat === "none" ? laptop.ip : router.ip);
  });
}

test("what is wrong is said", async (t) => {
  const lab = new Lab();
  t.after(() => lab.close());
  await assert.rejects(lab.ask("add_router", { name: "home", nat: "hme" }), /router\.nat: .*did you mean "home"/);
  await assert.rejects(lab.ask("link_down", { device: "phone", interface: "eth0" }), /LabError: phone/);
});
