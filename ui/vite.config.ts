import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// `make page-dev` shows the page with hot reload beside a `patchbay serve` at PATCHBAY_SERVER.
const server = process.env.PATCHBAY_SERVER ?? "http://127.0.0.1:7421";

export default defineConfig({
  plugins: [react()],
  base: "/",
  build: {
    outDir: "../patchbay_runner/server/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the content security policy allows no data: addresses
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": { target: server, changeOrigin: true } } },
});
