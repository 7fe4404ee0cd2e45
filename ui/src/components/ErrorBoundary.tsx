/** A defect of one part of the page does not take the rest along. */
import { Component, type ReactNode } from "react";
import { Failure } from "./states";

interface State {
  error: unknown;
}

export class ErrorBoundary extends Component<{ children: ReactNode }, State> {
  override state: State = { error: null };

  static getDerivedStateFromError(error: unknown): State {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <Failure
        title="This is a defect of the page"
        error={this.state.error}
        retry={() => this.setState({ error: null })}
      />
    );
  }
}
