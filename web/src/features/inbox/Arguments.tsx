import { LongPlain, Plain } from "~/ui/Plain";
import { type Row, rowsOf, type Value } from "./arguments";
import { answeredRows, type FormField } from "./form";

/** The arguments of a call as they are stored, as rows. */
export function Arguments({ value }: { value: Parameters<typeof rowsOf>[0] }) {
  const rows = rowsOf(value);
  if (rows.length === 0) return <p className="text-ink-3">No details.</p>;
  return <Rows rows={rows} />;
}

/** The answers to a form, as rows. */
export function Answers({ fields, answers }: { fields: FormField[]; answers: Parameters<typeof rowsOf>[0] }) {
  const rows = answeredRows(fields, answers);
  if (rows.length === 0) return <p className="text-ink-3">No details.</p>;
  return <Rows rows={rows} />;
}

function Rows({ rows }: { rows: Row[] }) {
  return (
    <dl className="grid gap-x-4 gap-y-2.5 sm:grid-cols-[minmax(5rem,max-content)_minmax(0,1fr)]">
      {rows.map(({ name, value }, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the rows of one value, in its order.
        <div key={index} className="contents">
          <dt className="text-sm leading-6 text-ink-3 max-sm:-mb-2 [overflow-wrap:anywhere]">
            <bdi>
              <Plain text={name} />
            </bdi>
          </dt>
          <dd className="min-w-0">
            <Shown value={value} />
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Shown({ value }: { value: Value }) {
  switch (value.kind) {
    case "text":
      return <LongPlain text={value.text} />;
    case "word":
      return value.word;
    case "none":
      return <span className="text-ink-3 italic">{value.word}</span>;
    case "list":
      return (
        <ul className="list-disc space-y-1 pl-5">
          {value.items.map((item, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the items of one value, in its order.
            <li key={index}>
              <Shown value={item} />
            </li>
          ))}
        </ul>
      );
    case "rows":
      return (
        <div className="border-l border-line pl-3">
          <Rows rows={value.rows} />
        </div>
      );
  }
}
