import { Component, type ReactNode } from "react";

type Props = {
  /** Shown if the children fail to render. */
  text: string;
  children: ReactNode;
};

/** Confines a rendering error to its message: the message's plain text is shown instead, and the page stays. */
export class Contained extends Component<Props, { broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  // A text that grows or was corrected gets another try.
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
