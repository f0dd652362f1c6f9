//! The run machine and its driver.
