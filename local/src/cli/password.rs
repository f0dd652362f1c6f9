//! A password typed at the terminal, which does not show it.

use std::io::{self, BufRead, IsTerminal, Write};

use secrecy::SecretString;

use super::exit::{Failure, Outcome};

/// Asks for this person's password. Without a terminal nobody can be asked: what is piped in is no proof that a person is there.
pub fn ask(whose: &str) -> Outcome<SecretString> {
    if !io::stdin().is_terminal() {
        return Err(Failure::refused(
            "This takes the person's password, typed at a terminal; the standard input is none. Run the command yourself, or decide in the browser.",
        ));
    }
    let mut stderr = io::stderr();
    let typed = hidden(|| {
        let _ = write!(stderr, "Password of {whose}: ");
        let _ = stderr.flush();
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let _ = writeln!(stderr);
    let typed = typed.map_err(|error| Failure::failed(format!("The password cannot be read from the terminal: {error}.")))?;
    match typed.trim_end_matches(['\r', '\n']) {
        "" => Err(Failure::refused("No password was typed; nothing was done.")),
        password => Ok(SecretString::from(password)),
    }
}

/// Reads while the terminal shows nothing of what is typed.
#[cfg(unix)]
fn hidden(read: impl FnOnce() -> io::Result<String>) -> io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    let typed = read();
    // As it was, however the reading went.
    tcsetattr(&stdin, OptionalActions::Now, &before)?;
    typed
}

#[cfg(not(unix))]
fn hidden(_: impl FnOnce() -> io::Result<String>) -> io::Result<String> {
    Err(io::Error::other("what is typed here would be shown; decide in the browser"))
}
