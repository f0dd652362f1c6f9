import { type Ask, ask } from "./http";
import type { paths } from "./schema.gen";

type Method = "get" | "post" | "patch" | "put" | "delete";

/** The paths that support a method. */
type PathWith<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never;
}[keyof paths];

type Operation<M extends Method, P extends PathWith<M>> = paths[P] extends Record<M, infer O> ? O : never;

/** Path parameters and body, required exactly if the operation has them. */
type PathOf<O> = O extends { parameters: { path: infer T } } ? { path: T } : { path?: undefined };
type BodyOf<O> = O extends { requestBody: { content: { "application/json": infer T } } }
  ? { body: T }
  : { body?: undefined };
type QueryOf<O> = O extends { parameters: { query?: infer T } } ? { query?: T } : { query?: undefined };

type Json<R> = R extends { content: { "application/json": infer T } } ? T : undefined;

/** The success answer of an operation. */
type Answer<O> = O extends { responses: infer R } ? Json<R[keyof R & (200 | 201 | 202 | 204)]> : never;

type Options<O> = Pick<Ask, "headers" | "signal" | "mayBeSignedOut"> & PathOf<O> & BodyOf<O> & QueryOf<O>;

/** The path with its parameters filled in. */
function filled(template: string, parameters: Record<string, string> = {}): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(parameters[name] ?? ""));
}

/** Calls an operation of the API, with path, parameters, body and answer typed by its description. */
export function call<M extends Method, P extends PathWith<M>>(
  method: M,
  template: P,
  // biome-ignore lint/complexity/noBannedTypes: asks whether every property may be left out.
  ...[options]: {} extends Options<Operation<M, P>> ? [Options<Operation<M, P>>?] : [Options<Operation<M, P>>]
): Promise<Answer<Operation<M, P>>> {
  const { path, query, body, ...rest } = (options ?? {}) as Ask & { path?: Record<string, string> };
  return ask(method.toUpperCase(), filled(template, path), { ...rest, query, body });
}
