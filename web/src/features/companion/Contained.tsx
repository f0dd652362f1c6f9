import { Component, type ReactNode } from "react";

type Props = {
  /** What is shown instead where the children cannot be. */
  text: string;
  children: ReactNode;
};

/** Keeps what goes wrong while one message is shown to that message: its plain text stands there, and the page stays. */
export class Contained extends Component<Props, { broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  // A text that goes on or was mended gets another try.
  override componentDidUpdate(before: Props) {
    if (this.state.broken && before.text !== this.props.text) this.setState({ broken: false });
  }

  override render() {
    if (!this.state.broken) return this.props.children;
    return (
      <div className="message">
        <p className="text-sm text-ink-3">This message can’t be shown with its formatting.</p>
        <p dir="auto" className="mt-1 whitespace-pre-wrap [overflow-wrap:anywhere]">
          {this.props.text}
        </p>
      </div>
    );
  }
}
