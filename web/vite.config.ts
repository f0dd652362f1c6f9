import tailwindcss from "@tailwindcss/vite";
import { tanstackStart } from "@tanstack/react-start/plugin/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** The server that `npm run dev` passes API calls on to. Never part of the build. */
const api = process.env.DUET_URL ?? "http://127.0.0.1:7717";

export default defineConfig({
  resolve: { alias: { "~": new URL("./src", import.meta.url).pathname } },
  plugins: [
    tailwindcss(),
    // SPA mode: the build leaves static files and a shell (`dist/client/_shell.html`); there is no Node at run time.
    tanstackStart({ spa: { enabled: true } }),
    react(),
  ],
  build: { target: "es2022", sourcemap: false },
  server: {
    proxy: Object.fromEntries(
      ["/v1", "/health", "/openapi.json"].map((path) => [
        path,
        { target: api, changeOrigin: true, headers: { origin: api } },
      ]),
    ),
  },
});
