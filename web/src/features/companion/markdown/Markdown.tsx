import type { Token, Tokens } from "marked";
import { createContext, Fragment, memo, type ReactNode, useContext, useMemo } from "react";
import { decode, type NoteRef, safeHref, tree } from "./tree";

/** The text's footnotes: their labels in order, and a prefix that keeps their ids apart from those of other replies. */
const Notes = createContext<{ scope: string; labels: string[] }>({ scope: "", labels: [] });

/**
 * Markdown as React elements, made only from the token kinds named here: HTML, scripts, styles and
 * images of a reply cannot reach the page. A finished block is not rendered again while later ones arrive.
 */
export default function Markdown({ text, scope }: { text: string; scope: string }) {
  const read = useMemo(() => tree(text), [text]);
  const labels = read?.notes.map(({ label }) => label).join(" ") ?? "";
  const notes = useMemo(() => ({ scope, labels: labels ? labels.split(" ") : [] }), [scope, labels]);
  if (!read) {
    return (
      <p dir="auto" className="whitespace-pre-wrap">
        {text}
      </p>
    );
  }
  return (
    <Notes value={notes}>
      {read.blocks.map((token, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: blocks only ever grow at the end.
        <Block key={index} token={token} raw={token.raw} />
      ))}
      {read.notes.length > 0 && (
        <section className="notes" aria-label="Footnotes">
          <ol>
            {read.notes.map(({ label, tokens }, index) => (
              <li key={label} id={`note-${scope}-${label}`} tabIndex={-1} dir="auto">
                {each(tokens, block)}
                <Jump to={`ref-${scope}-${label}`} name={`Back to the text from footnote ${index + 1}`}>
                  ↩
                </Jump>
              </li>
            ))}
          </ol>
        </section>
      )}
    </Notes>
  );
}

const Block = memo(
  ({ token }: { token: Token; raw: string }) => <>{block(token, "auto")}</>,
  (before, after) => before.raw === after.raw && before.token.type === after.token.type,
);

/** A link inside the text. The address of the page does not change. */
function Jump({ to, id, name, children }: { to: string; id?: string; name: string; children: ReactNode }) {
  return (
    <a
      id={id}
      href={`#${encodeURIComponent(to)}`}
      aria-label={name}
      onClick={(event) => {
        event.preventDefault();
        const place = document.getElementById(to);
        place?.scrollIntoView({ block: "nearest" });
        place?.focus({ preventScroll: true });
      }}
    >
      {children}
    </a>
  );
}

function Reference({ token: { label, raw, again } }: { token: NoteRef }) {
  const { scope, labels } = useContext(Notes);
  const number = labels.indexOf(label) + 1;
  // Its footnote may not have arrived yet, or may be missing.
  if (!number) return raw;
  return (
    <sup>
      <Jump to={`note-${scope}-${label}`} id={again ? undefined : `ref-${scope}-${label}`} name={`Footnote ${number}`}>
        {number}
      </Jump>
    </sup>
  );
}

const each = (tokens: Token[] | undefined, render: (token: Token) => ReactNode) =>
  tokens?.map((token, index) => {
    // biome-ignore lint/suspicious/noArrayIndexKey: tokens have no other identity and never move.
    return <Fragment key={index}>{render(token)}</Fragment>;
  });

const inlines = (tokens: Token[] | undefined) => each(tokens, inline);

/**
 * The outermost block has the direction of its first letter. Blocks inside it have the same, since `auto` skips anything that has
 * a direction of its own. The style sheet orders each paragraph by its own letters.
 */
type Direction = "auto";

function block(token: Token, dir?: Direction): ReactNode {
  switch (token.type) {
    case "heading": {
      // The page has its own first heading; a reply's headings are below it.
      const Tag = `h${Math.min((token as Tokens.Heading).depth + 1, 6)}` as "h2";
      return <Tag dir={dir}>{inlines((token as Tokens.Heading).tokens)}</Tag>;
    }
    case "paragraph":
      return <p dir={dir}>{inlines((token as Tokens.Paragraph).tokens)}</p>;
    case "code":
      return (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region has to be reachable by keyboard.
        <pre tabIndex={0} dir="ltr">
          <code>{(token as Tokens.Code).text}</code>
        </pre>
      );
    case "blockquote":
      return <blockquote dir={dir}>{each((token as Tokens.Blockquote).tokens, block)}</blockquote>;
    case "list":
      return list(token as Tokens.List, dir);
    case "table":
      return table(token as Tokens.Table, dir);
    case "hr":
      return <hr />;
    case "html":
      return <p dir={dir}>{(token as Tokens.HTML).raw.trim()}</p>;
    case "space":
    case "note":
    case "def":
      return null;
    default:
      return inline(token);
  }
}

function list({ ordered, start, items }: Tokens.List, dir?: Direction): ReactNode {
  const children = items.map((item, index) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: items have no other identity and never move.
    <li key={index} className={item.task ? "task" : undefined}>
      {item.task && (
        <input
          type="checkbox"
          checked={item.checked ?? false}
          readOnly
          disabled
          aria-label={item.checked ? "done" : "open"}
        />
      )}
      {each(
        item.tokens.filter((token) => token.type !== "checkbox"),
        (token) => (token.type === "text" && "tokens" in token ? inlines(token.tokens) : block(token)),
      )}
    </li>
  ));
  return ordered ? (
    <ol dir={dir} start={start === "" || start === 1 ? undefined : Number(start)}>
      {children}
    </ol>
  ) : (
    <ul dir={dir}>{children}</ul>
  );
}

function table({ header, rows }: Tokens.Table, dir?: Direction): ReactNode {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region has to be reachable by keyboard.
    <section className="wide-table" tabIndex={0} aria-label="Table">
      <table dir={dir}>
        <thead>
          <tr>
            {header.map((cell, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: cells never move.
              <th key={index} scope="col" data-align={cell.align ?? undefined}>
                {inlines(cell.tokens)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: rows never move.
            <tr key={index}>
              {row.map((cell, column) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: cells never move.
                <td key={column} data-align={cell.align ?? undefined}>
                  {inlines(cell.tokens)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function inline(token: Token): ReactNode {
  switch (token.type) {
    case "text":
      return "tokens" in token && token.tokens ? inlines(token.tokens) : decode((token as Tokens.Text).text);
    case "noteRef":
      return <Reference token={token as NoteRef} />;
    case "escape":
      return (token as Tokens.Escape).text;
    case "strong":
      return <strong>{inlines((token as Tokens.Strong).tokens)}</strong>;
    case "em":
      return <em>{inlines((token as Tokens.Em).tokens)}</em>;
    case "del":
      return <del>{inlines((token as Tokens.Del).tokens)}</del>;
    case "codespan":
      return <code>{(token as Tokens.Codespan).text}</code>;
    case "br":
      return <br />;
    case "link": {
      const { href, tokens } = token as Tokens.Link;
      const safe = safeHref(href);
      return safe ? (
        <a href={safe} target="_blank" rel="noreferrer noopener">
          {inlines(tokens)}
        </a>
      ) : (
        inlines(tokens)
      );
    }
    case "image": {
      const { text, href } = token as Tokens.Image;
      const safe = safeHref(href);
      const name = `[image not loaded${text ? `: ${decode(text)}` : ""}]`;
      return safe ? (
        <a className="image-left-out" href={safe} target="_blank" rel="noreferrer noopener">
          {name}
        </a>
      ) : (
        <span className="image-left-out">{name}</span>
      );
    }
    default:
      return token.raw;
  }
}
