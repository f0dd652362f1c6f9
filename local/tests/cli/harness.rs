//! A separate home for the binary, a server that stops again, and a browser-like HTTP client.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use reqwest::{Method, Response};
use serde_json::{Value, json};

/// The owner's password in all tests.
pub const PASSWORD: &str = "correct horse battery staple";

/// Folders as a fresh user has them.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["config/duet", "data", "run", "logs", "tmp"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    /// With this configuration file.
    pub fn with_config(text: &str) -> Self {
        let home = Self::new();
        fs::write(home.config(), text).unwrap();
        home
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
    pub fn config(&self) -> PathBuf {
        self.path().join("config/duet/duet.toml")
    }
    pub fn data(&self) -> PathBuf {
        self.path().join("data/duet/duet.db")
    }
    pub fn key(&self) -> PathBuf {
        self.path().join("config/duet/duet.key")
    }

    /// The binary with nothing from the caller's environment but these folders.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duet"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.path())
            .env("XDG_CONFIG_HOME", self.path().join("config"))
            .env("XDG_DATA_HOME", self.path().join("data"))
            .env("XDG_RUNTIME_DIR", self.path().join("run"))
            .env("TMPDIR", self.path().join("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the binary to completion.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Done {
        Done::from(self.command(args).output().unwrap())
    }

    /// Runs it with this on its standard input.
    pub fn run_with<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Done {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that refuses before reading closes the pipe, and says so itself.
        let _ = stdin.write_all(input);
        drop(stdin);
        Done::from(child.wait_with_output().unwrap())
    }

    /// Runs it at a terminal, and types this once it asks for the password.
    #[cfg(unix)]
    pub fn run_typing<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, password: &str) -> Done {
        self.run_typing_both(args, "", password)
    }

    /// Types this at once, and the password once it is asked for.
    #[cfg(unix)]
    pub fn run_typing_both<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, first: &str, password: &str) -> Done {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let its_end = fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
        let mut terminal = fs::File::from(terminal);
        terminal.write_all(first.as_bytes()).unwrap();
        let mut child = self.command(args).stdin(its_end).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let mut said = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&said).contains("Password of ada@example.org: ") && stderr.read(&mut byte).unwrap() == 1 {
            said.push(byte[0]);
        }
        terminal.write_all(format!("{password}\n").as_bytes()).unwrap();
        stderr.read_to_end(&mut said).unwrap();
        let done = Done::from(child.wait_with_output().unwrap());
        Done {
            err: String::from_utf8(said).unwrap(),
            ..done
        }
    }

    /// Sets up the owner from the command line.
    pub fn init(&self) {
        let args = [
            "init",
            "--email",
            "ada@example.org",
            "--password-stdin",
            "--name",
            "Ada",
            "--workspace",
            "Home",
        ];
        self.run_with(args, format!("{PASSWORD}\n").as_bytes()).ok();
    }

    /// Starts a server on a free port and waits until it says where it is.
    pub fn serve(&self) -> Served {
        self.serve_with(&[])
    }

    pub fn serve_with(&self, more: &[&str]) -> Served {
        let args = ["serve", "--json", "--bind", "127.0.0.1:0"]
            .into_iter()
            .chain(more.iter().copied());
        self.served(self.command(args))
    }

    /// Starts a server under a system limit, as `ulimit` takes it.
    #[cfg(unix)]
    pub fn serve_limited(&self, limit: &str) -> Served {
        let plain = self.command(["serve", "--json", "--bind", "127.0.0.1:0"]);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")])
            .arg(plain.get_program())
            .args(plain.get_args())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        self.served(command)
    }

    fn served(&self, mut command: Command) -> Served {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path().join("logs/serve.log"))
            .unwrap();
        let mut child = command.stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("the server said {line:?}; its log: {}", self.log());
        });
        Served {
            url: told["url"].as_str().unwrap().to_owned(),
            setup_url: told["setup_url"].as_str().map(str::to_owned),
            setup_token: told["setup_token"].as_str().map(str::to_owned),
            child,
        }
    }

    /// What the servers of this home have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("logs/serve.log")).unwrap_or_default()
    }
}

/// A command that has ended.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Done {
    /// Its standard output; it must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "out: {}\nerr: {}", self.out, self.err);
        self.out
    }
    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
    /// It must have been refused with this code, and one line on standard error that contains these words.
    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        let said: Vec<&str> = self.err.lines().filter(|line| line.starts_with("duet: ")).collect();
        assert_eq!(said.len(), 1, "one sentence, not: {}", self.err);
        for word in words {
            assert!(said[0].contains(word), "{word:?} is not in {:?}", said[0]);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

/// A running server.
pub struct Served {
    pub url: String,
    pub setup_url: Option<String>,
    pub setup_token: Option<String>,
    child: Child,
}

impl Served {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash or a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop (SIGTERM) and waits.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        for _ in 0..3_600 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the server did not stop within three minutes");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser's access to the API: a cookie, and the page's headers.
pub struct Browser {
    http: reqwest::Client,
    url: String,
    cookie: Option<String>,
    pub workspace: String,
}

impl Browser {
    pub fn new(url: &str) -> Self {
        Self {
            http: duet_api::http::client().unwrap(),
            url: url.to_owned(),
            cookie: None,
            workspace: String::new(),
        }
    }

    /// Finishes the set-up with the server's token.
    pub async fn set_up(server: &Served) -> Self {
        let mut browser = Self::new(&server.url);
        let body = json!({
            "token": server.setup_token.as_ref().unwrap(),
            "email": "ada@example.org",
            "password": PASSWORD,
            "display_name": "Ada",
            "workspace_name": "Home",
            "companion_name": "Robin",
        });
        browser.enter("/v1/setup", &body).await;
        browser
    }

    /// Signs in with the owner's password.
    pub async fn sign_in(url: &str) -> Self {
        let mut browser = Self::new(url);
        browser
            .enter("/v1/auth/sign-in", &json!({"email": "ada@example.org", "password": PASSWORD}))
            .await;
        browser
    }

    /// Accepts an invitation, as printed by `duet member invite --json`, and signs in.
    pub async fn join(url: &str, invited: &Value, name: &str) -> Self {
        let mut browser = Self::new(url);
        let body = json!({"token": invited["token"], "display_name": name, "password": PASSWORD});
        browser.post("/v1/invitations/accept", &body).await;
        let body = json!({"email": invited["invitation"]["email"], "password": PASSWORD});
        browser.enter("/v1/auth/sign-in", &body).await;
        browser
    }

    async fn enter(&mut self, path: &str, body: &Value) {
        let response = self.request(Method::POST, path, Some(body)).await;
        let cookie = response
            .headers()
            .get("set-cookie")
            .map(|value| value.to_str().unwrap().to_owned());
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{status}: {answer}");
        self.cookie = cookie.and_then(|cookie| Some(cookie.split(';').next()?.to_owned()));
        self.workspace = answer["workspaces"][0]["workspace"]["id"].as_str().unwrap().to_owned();
    }

    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        let path = path.replace("{ws}", &format!("/v1/workspaces/{}", self.workspace));
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .header("origin", &self.url)
            .header("x-duet-csrf", "1")
            .timeout(Duration::from_secs(180));
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        request.send().await.unwrap()
    }

    /// JSON of a path; `{ws}` is replaced by the workspace's path.
    pub async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path, None).await;
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {answer}");
        answer
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let response = self.request(Method::POST, path, Some(body)).await;
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {answer}");
        answer
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Value {
        let response = self.request(Method::PATCH, path, Some(body)).await;
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {answer}");
        answer
    }

    /// A page address, requested as a browser does.
    pub async fn page(&self, path: &str) -> Response {
        let request = self
            .http
            .get(format!("{}{path}", self.url))
            .header("accept", "text/html,*/*;q=0.8");
        request.send().await.unwrap()
    }

    /// A new conversation.
    pub async fn conversation(&self) -> String {
        self.post("{ws}/conversations", &json!({})).await["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Says something and returns the receipt.
    pub async fn say(&self, conversation: &str, text: &str) -> Value {
        self.post(
            &format!("{{ws}}/conversations/{conversation}/messages"),
            &json!({"text": text}),
        )
        .await
    }

    /// The same; `None` while another reply is being written there.
    pub async fn try_say(&self, conversation: &str, text: &str) -> Option<Value> {
        let path = format!("{{ws}}/conversations/{conversation}/messages");
        let response = self.request(Method::POST, &path, Some(&json!({"text": text}))).await;
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert!(status.is_success() || status == 409, "{status}: {answer}");
        status.is_success().then_some(answer)
    }

    /// Waits for the end of a run and returns the newest message of the conversation.
    pub async fn reply(&self, conversation: &str, run: &str) -> Value {
        for _ in 0..3_000 {
            let status = self.get(&format!("{{ws}}/runs/{run}")).await["status"].clone();
            if status != "queued" && status != "running" {
                let page = self
                    .get(&format!("{{ws}}/conversations/{conversation}/messages?limit=1"))
                    .await;
                return page["items"][0].clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the run did not end within five minutes");
    }

    /// Waits until a run has written some text, and returns how many events there are.
    pub async fn writing(&self, run: &str, pieces: usize) -> u64 {
        for _ in 0..3_600 {
            let response = self
                .http
                .get(format!("{}/v1/workspaces/{}/runs/{run}/events", self.url, self.workspace))
                .header("cookie", self.cookie.as_ref().unwrap())
                .header("accept", "application/json")
                .send()
                .await
                .unwrap();
            let page: Value = response.json().await.unwrap();
            if page.to_string().matches("TEXT_MESSAGE_CONTENT").count() >= pieces {
                return page["last_seq"].as_u64().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the run wrote nothing within three minutes");
    }
}
