//! The relay of a scene: started, and started again as a container or systemd would.

use crate::Failure;
use crate::hook::Hook;
use crate::process::{Process, Start};
use crate::record::Tape;
use crate::scene::{Tools, Wants};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Nothing else is in its namespace.
pub(crate) const PORT: u16 = 33435;
/// How long it may take to end after what must end it: the watchdog's ten seconds, and some.
const ENDS: Duration = Duration::from_secs(20);
/// How long it may take to tell of itself.
const ANSWERS: Duration = Duration::from_secs(10);
/// Space for a log that is to be full.
const SMALL: &str = "size=256k";

/// What a relay is started with.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) wants: &'a Wants,
    pub(crate) dir: &'a Path,
    pub(crate) space: &'a str,
    /// What its files are called.
    pub(crate) name: &'a str,
    /// What makes it part of a mesh.
    pub(crate) member: Vec<(String, String)>,
}

/// The relay.
#[derive(Debug)]
pub(crate) struct Relay {
    process: Option<Process>,
    hook: Hook,
    /// Its standard output.
    said: Tape,
    socket: PathBuf,
    clock: PathBuf,
    /// Where its log is, and what fills the rest of the space there.
    log: PathBuf,
    filler: PathBuf,
    space: String,
    program: OsString,
    words: Vec<String>,
    env: Vec<(String, String)>,
}

impl Relay {
    pub(crate) fn start(setup: Setup<'_>) -> Result<Self, Failure> {
        let Setup {
            tools,
            wants,
            dir,
            space,
            name,
            member,
        } = setup;
        let (socket, clock) = (dir.join(format!("{name}.hook")), dir.join("clock"));
        let mut env = vec![
            // What it says to its network is none of what is measured.
            ("LAPS_DISCOVERY__MDNS".to_owned(), "off".to_owned()),
            (
                "LAPS_CHAOS_SOCKET".to_owned(),
                socket.to_string_lossy().into_owned(),
            ),
            ("LAPS_WORKERS__THREADS".to_owned(), wants.workers.to_string()),
        ];
        env.extend(
            wants
                .env
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned())),
        );
        env.extend(member);
        if wants.clock {
            let library = tools.faketime.as_ref().ok_or("there is no libfaketime")?;
            std::fs::write(&clock, "+0\n")?;
            // Only the clock of the calendar is faked: no machine's monotonic clock ever jumps, and the kernel's timers,
            // which the relay sleeps on, would not follow.
            for (name, value) in [
                ("LD_PRELOAD", library.to_string_lossy()),
                ("FAKETIME_TIMESTAMP_FILE", clock.to_string_lossy()),
                ("FAKETIME_NO_CACHE", "1".into()),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
                ("DONT_FAKE_MONOTONIC", "1".into()),
            ] {
                env.push((name.to_owned(), value.into_owned()));
            }
        }
        let mut home = dir.to_owned();
        if wants.small_log {
            home = dir.join("small");
            std::fs::create_dir_all(&home)?;
            let mount = Command::new("mount")
                .args(["-t", "tmpfs", "-o", SMALL, "tmpfs"])
                .arg(&home)
                .status()?;
            if !mount.success() {
                return Err("there is no small file system".into());
            }
        }
        let words = ["--port", &PORT.to_string(), "--log-format", "json", "-d"];
        let mut relay = Self {
            process: None,
            hook: Hook::new(&socket),
            said: Tape::default(),
            socket,
            clock,
            log: home.join(format!("{name}.log")),
            filler: home.join("filler"),
            space: space.to_owned(),
            program: tools.laps.clone().into(),
            words: words.map(ToOwned::to_owned).to_vec(),
            env,
        };
        relay.again()?;
        Ok(relay)
    }

    /// Starts it anew; it has to have ended. Returns when its port is open.
    pub(crate) fn again(&mut self) -> Result<(), Failure> {
        // A socket of a process that was killed is left behind.
        drop(std::fs::remove_file(&self.socket));
        let mut process = Process::start(Start {
            space: &self.space,
            program: &self.program,
            words: self.words.clone(),
            env: self.env.clone(),
            log: &self.log,
        })?;
        let output = process.output()?;
        self.process = Some(process);
        let mut output = BufReader::new(output).lines().map_while(Result::ok);
        if !output.any(|line| line.contains("listening on")) {
            return Err("the relay did not start".into());
        }
        let said = self.said.clone();
        std::thread::spawn(move || output.for_each(|line| said.tell(line)));
        Ok(())
    }

    pub(crate) const fn port(&self) -> u16 {
        PORT
    }

    pub(crate) const fn hook(&self) -> &Hook {
        &self.hook
    }

    pub(crate) fn process(&mut self) -> Result<&mut Process, Failure> {
        Ok(self.process.as_mut().ok_or("the relay was not started")?)
    }

    /// Waits until it ends by itself, with the exit code that asks for another start.
    pub(crate) fn until_fault(&mut self) -> Result<(), Failure> {
        let status = self.process()?.wait(ENDS)?;
        if status.code() == Some(70) {
            return Ok(());
        }
        Err(format!("the relay ended with {status}, not with 70").into())
    }

    /// Whether it runs.
    pub(crate) fn is_alive(&mut self) -> Result<bool, Failure> {
        Ok(self.process()?.ended()?.is_none())
    }

    /// Sets its clock so many seconds off.
    pub(crate) fn set_clock(&self, seconds: i64) -> Result<(), Failure> {
        // Replaced in one step: a half-written offset would be another jump.
        let fresh = self.clock.with_extension("new");
        std::fs::write(&fresh, format!("{seconds:+}\n"))?;
        Ok(std::fs::rename(fresh, &self.clock)?)
    }

    /// Leaves no byte free where its log is.
    pub(crate) fn fill_log(&self) -> Result<(), Failure> {
        let mut file = File::create(&self.filler)?;
        // Whole pages first, and then what is left of one.
        for size in [4096, 1] {
            while file.write_all(&vec![b'.'; size]).is_ok() {}
        }
        Ok(())
    }

    /// Makes room there again.
    pub(crate) fn empty_log(&self) -> Result<(), Failure> {
        Ok(std::fs::remove_file(&self.filler)?)
    }

    /// How full its tables are, and what it holds, as SIGUSR2 has it tell.
    pub(crate) fn census(&mut self) -> Result<Value, Failure> {
        let before = self.said.read().other.len();
        self.process()?.signal("USR2")?;
        self.said
            .wait(ANSWERS, "a census", |record| record.other.len() > before)?;
        let lines = self.said.read().other;
        let text = lines
            .iter()
            .skip(before)
            .find_map(|line| line.strip_prefix("census "));
        Ok(serde_json::from_str(text.ok_or("no census")?)?)
    }

    /// The lines of its log with this message.
    pub(crate) fn logged_as(&self, message: &str) -> Vec<Value> {
        self.logged()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line.get("msg").and_then(Value::as_str) == Some(message))
            .collect()
    }

    /// What it has logged.
    pub(crate) fn logged(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}
