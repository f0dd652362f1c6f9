import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const src = import.meta.dirname;
const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => /\.tsx?$/.test(file));

/** The files that a file imports, as paths below `src`. */
function imports(file: string): string[] {
  const text = readFileSync(join(src, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].flatMap(([, name = ""]) => {
    if (name.startsWith("~/")) return [name.slice(2)];
    if (name.startsWith(".")) return [relative(src, resolve(src, dirname(file), name))];
    return [];
  });
}

const part = (path: string) =>
  path.startsWith("features/") ? path.split("/").slice(0, 2).join("/") : path.split("/")[0];

describe("the structure", () => {
  it.each(files.filter((file) => file.startsWith("features/")))("%s imports no other feature and no route", (file) => {
    const wrong = imports(file).filter((path) => part(path) !== part(file) && /^(features|routes)/.test(path));
    expect(wrong).toEqual([]);
  });

  it.each(files.filter((file) => /^(ui|api)\//.test(file)))("%s knows no feature and no route", (file) => {
    expect(imports(file).filter((path) => /^(features|routes)/.test(path))).toEqual([]);
  });

  // Names for screen readers are positioned absolutely: unless their scrolling area contains them, they lengthen the page.
  it.each(files.filter((file) => file.endsWith(".tsx")))(
    "%s scrolls only in what holds what is placed in it",
    (file) => {
      expect(readFileSync(join(src, file), "utf8")).not.toMatch(/\boverflow-(y-)?(auto|scroll)\b/);
    },
  );

  // React calls an effect's return value as its clean-up, so an expression must not return some other value by accident.
  it.each(files.filter((file) => /\.tsx?$/.test(file) && !file.includes(".test.")))(
    "%s has effects that return nothing by accident",
    (file) => {
      const text = readFileSync(join(src, file), "utf8");
      expect(text).not.toMatch(/Effect\(\s*(async\b|\(\)\s*=>\s*(?!\s*\{))/);
    },
  );

  it("has no server functions", () => {
    const banned = ["create", "ServerFn"].join("");
    expect(files.filter((file) => readFileSync(join(src, file), "utf8").includes(banned))).toEqual([]);
  });
});
