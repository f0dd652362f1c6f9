//! What the relay is told by those who write.

/// What wakes the relay.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// The outbox has grown.
    Grown,
    /// The store closes.
    Stop,
}
