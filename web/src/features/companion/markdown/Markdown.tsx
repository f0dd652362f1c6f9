import type { Token, Tokens } from "marked";
import { Fragment, memo, type ReactNode, useMemo } from "react";
import { blocks, decode, safeHref } from "./tree";

/**
 * Markdown as React elements, made only from the kinds of token named here: there is no way for HTML, scripts, styles or
 * images of a reply to reach the page. A finished block is not rendered again while the next ones arrive.
 */
export default function Markdown({ text }: { text: string }) {
  const tokens = useMemo(() => blocks(text), [text]);
  return tokens.map((token, index) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: blocks only ever grow at the end.
    <Block key={index} token={token} raw={token.raw} />
  ));
}

const Block = memo(
  ({ token }: { token: Token; raw: string }) => <>{block(token)}</>,
  (before, after) => before.raw === after.raw && before.token.type === after.token.type,
);

const each = (tokens: Token[] | undefined, render: (token: Token) => ReactNode) =>
  tokens?.map((token, index) => {
    // biome-ignore lint/suspicious/noArrayIndexKey: tokens have no other identity and never move.
    return <Fragment key={index}>{render(token)}</Fragment>;
  });

const inlines = (tokens: Token[] | undefined) => each(tokens, inline);

function block(token: Token): ReactNode {
  switch (token.type) {
    case "heading": {
      // The page has a first heading of its own; those of a reply stand below it.
      const Tag = `h${Math.min((token as Tokens.Heading).depth + 1, 6)}` as "h2";
      return <Tag>{inlines((token as Tokens.Heading).tokens)}</Tag>;
    }
    case "paragraph":
      return <p>{inlines((token as Tokens.Paragraph).tokens)}</p>;
    case "code":
      return (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region has to be reachable by keyboard.
        <pre tabIndex={0}>
          <code>{(token as Tokens.Code).text}</code>
        </pre>
      );
    case "blockquote":
      return <blockquote>{each((token as Tokens.Blockquote).tokens, block)}</blockquote>;
    case "list":
      return list(token as Tokens.List);
    case "table":
      return table(token as Tokens.Table);
    case "hr":
      return <hr />;
    case "html":
      return <p>{(token as Tokens.HTML).raw.trim()}</p>;
    case "space":
    case "def":
      return null;
    default:
      return inline(token);
  }
}

function list({ ordered, start, items }: Tokens.List): ReactNode {
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
    <ol start={start === "" || start === 1 ? undefined : Number(start)}>{children}</ol>
  ) : (
    <ul>{children}</ul>
  );
}

function table({ header, rows }: Tokens.Table): ReactNode {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region has to be reachable by keyboard.
    <section className="table" tabIndex={0} aria-label="Table">
      <table>
        <thead>
          <tr>
            {header.map((cell, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: cells never move.
              <th key={index} scope="col">
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
                <td key={column}>{inlines(cell.tokens)}</td>
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
