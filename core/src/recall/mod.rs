//! Recall (M4): how signals become one ranking, the same on every backend.
