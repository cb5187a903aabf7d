//! A mesh of relays, and publishers and subscribers beside them.

use super::path::{Path, Plan};
use super::roads::{Place, Roads};
use crate::Failure;
use crate::judge::{Losses, judge};
use crate::process::{Process, Start};
use crate::record::{self, Pace, Tape};
use crate::scene::Tools;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{ChildStdout, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Where clients and relays find a relay; nothing else is in its namespace.
const CLIENTS: u16 = 33_435;
pub(super) const RELAYS: u16 = 33_434;
/// How long clients may take to be there at the beginning, on a busy machine of two cores.
pub(super) const START: Duration = Duration::from_secs(30);
/// How long everybody has to go on after something happened.
const GO_ON: Duration = Duration::from_secs(20);

/// Seconds that those who are asked to leave a relay have for it.
const GRACE: &str = "3";
/// How often a log is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// The track of every mesh.
pub(crate) const NAMESPACE: &str = "mesh";
const NAME: &str = "video";
/// What further tracks are called, each with its number.
const MORE: &str = "more";

/// What a relay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Edge,
    Via,
    Stub,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Via => "via",
            Self::Stub => "stub",
        }
    }
}

/// One relay: what it does, and whom it dials, by their number. Who is dialled comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) role: Role,
    pub(crate) dials: &'static [usize],
    /// Those of them to whom no road leads at first.
    pub(crate) cut_from: &'static [usize],
    /// What its links are like: the delay of a packet, and how many of a hundred are lost.
    pub(crate) over: Option<(Duration, u64)>,
}

impl Node {
    const fn new(role: Role, dials: &'static [usize]) -> Self {
        Self {
            role,
            dials,
            cut_from: &[],
            over: None,
        }
    }

    /// The same, without a road to these at first.
    pub(crate) const fn cut_from(self, cut_from: &'static [usize]) -> Self {
        Self { cut_from, ..self }
    }

    /// The same, with links on which a packet takes so many milliseconds, and so many of a hundred are lost.
    pub(crate) const fn over(self, delay_ms: u64, loss_percent: u64) -> Self {
        Self {
            over: Some((Duration::from_millis(delay_ms), loss_percent)),
            ..self
        }
    }
}

/// An edge that dials these.
pub(crate) const fn edge(dials: &'static [usize]) -> Node {
    Node::new(Role::Edge, dials)
}

/// A via that dials these.
pub(crate) const fn via(dials: &'static [usize]) -> Node {
    Node::new(Role::Via, dials)
}

/// A stub of these, behind a NAT.
pub(crate) const fn stub(dials: &'static [usize]) -> Node {
    Node::new(Role::Stub, dials)
}

/// One relay of a world.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) place: Place,
    pub(crate) process: Option<Process>,
    env: Vec<(String, String)>,
    /// Its log, in JSON.
    pub(crate) log: PathBuf,
    /// What it says at each SIGUSR2.
    pub(super) told: Option<Receiver<String>>,
    /// When its metrics were read last.
    pub(super) read: Option<Instant>,
}

/// A publisher, or a subscriber.
#[derive(Debug)]
pub(crate) struct User {
    /// Ends with it.
    _process: Process,
    /// What it received, if it is one that receives.
    pub(crate) tape: Tape,
    log: PathBuf,
    name: String,
}

/// Sessions that hold subscriptions, and count streams.
#[derive(Debug)]
pub(crate) struct Holder {
    process: Process,
    said: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn of(mut process: Process) -> Result<Self, Failure> {
        let said = BufReader::new(process.output()?).lines();
        Ok(Self { process, said })
    }

    fn line(&mut self) -> Result<String, Failure> {
        match self.said.next() {
            Some(line) => Ok(line?.trim().to_owned()),
            None => Err(std::fs::read_to_string(self.process.log())?.into()),
        }
    }

    /// Streams of objects that have come since the last time, to the session with the fewest and to that with the most.
    pub(crate) fn streams(&mut self) -> Result<[u64; 2], Failure> {
        writeln!(self.process.input()?)?;
        let line = self.line()?;
        let (least, most) = line.split_once(' ').ok_or("no counts")?;
        Ok([least.parse()?, most.parse()?])
    }
}

/// Everything that happens in the network of one mesh.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) relays: Vec<Relay>,
    pub(crate) publishers: Vec<User>,
    pub(crate) subscribers: Vec<User>,
    /// How the objects of the track come.
    pub(crate) pace: Pace,
    /// Who is there beside them, and is not judged.
    others: Vec<Process>,
    pub(crate) holders: Vec<Holder>,
    /// Links with delay and loss, in the order in which they were laid.
    pub(crate) paths: Vec<Path>,
    dir: PathBuf,
    tools: Tools,
    // Last, so that processes end before their network does.
    roads: Roads,
}

impl World {
    /// Starts these relays, in their order; all know one CA.
    pub(crate) fn begin(tools: &Tools, nodes: &[Node], number: usize) -> Result<Self, Failure> {
        let dir = tools.scratch.join(format!("mesh-{number}"));
        std::fs::create_dir_all(&dir)?;
        let mut world = Self {
            relays: Vec::new(),
            publishers: Vec::new(),
            subscribers: Vec::new(),
            pace: Pace::default(),
            others: Vec::new(),
            holders: Vec::new(),
            paths: Vec::new(),
            dir,
            tools: tools.clone(),
            roads: Roads::new(number)?,
        };
        let ids = (1..=nodes.len()).flat_map(|number| ["--node".to_owned(), format!("1:{number}")]);
        let made = Command::new(&world.tools.laps)
            .args(["cert", "ca", "--out"])
            .arg(&world.dir)
            .args(ids)
            .output()?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
        }
        for node in nodes {
            world.add(*node)?;
        }
        Ok(world)
    }

    fn add(&mut self, node: Node) -> Result<(), Failure> {
        // A stub dials only, so that is where it is.
        let place = match node.role {
            Role::Stub => self.roads.join_hidden()?,
            Role::Edge | Role::Via => self.roads.join()?,
        };
        let number = self.relays.len() + 1;
        for &index in node.cut_from {
            let there = self.relays.get(index).ok_or("who is cut off comes first")?;
            place.road_to(&there.place, false)?;
        }
        let mut paths = Vec::new();
        let dialled = node.dials.iter().map(|&index| {
            let relay = self.relays.get(index).ok_or("who is dialled comes first")?;
            let there = format!("{}:{RELAYS}", relay.place.address);
            let Some((delay, loss)) = node.over else {
                return Ok(there);
            };
            let name = format!("path-{number}-{}", index + 1);
            let path = Path::lay(Plan {
                space: self.roads.core(),
                door: &place.door,
                to: &there,
                delay,
                loss,
                log: &self.dir.join(format!("{name}.log")),
            })?;
            let door = path.door.clone();
            paths.push(path);
            Ok(door)
        });
        let dialled: Vec<String> = dialled.collect::<Result<_, Failure>>()?;
        self.paths.append(&mut paths);
        let file = |name: &str| self.dir.join(name).to_string_lossy().into_owned();
        let mut env = vec![
            ("LAPS_RELAY__ENDPOINT_ID", format!("1:{number}")),
            ("LAPS_WORKERS__THREADS", "2".to_owned()),
            ("LAPS_DRAIN__GRACE", GRACE.to_owned()),
            ("LAPS_PEERING__NODE_TYPE", node.role.name().to_owned()),
            ("LAPS_PEERING__CA", file("ca.pem")),
            ("LAPS_PEERING__CERT", file(&format!("node-1-{number}.pem"))),
            ("LAPS_PEERING__KEY", file(&format!("node-1-{number}-key.pem"))),
        ];
        if !dialled.is_empty() {
            env.push(("LAPS_PEERING__PEERS", dialled.join(",")));
        }
        let mut relay = Relay {
            place,
            process: None,
            env: env
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            log: self.dir.join(format!("relay-{number}.log")),
            told: None,
            read: None,
        };
        relay.start(&self.tools)?;
        self.relays.push(relay);
        Ok(())
    }

    /// A relay that runs, or ran.
    pub(crate) fn relay(&mut self, index: usize) -> Result<&mut Relay, Failure> {
        Ok(self.relays.get_mut(index).ok_or("there is no such relay")?)
    }

    /// A link with delay and loss.
    pub(crate) fn path(&mut self, index: usize) -> Result<&mut Path, Failure> {
        Ok(self.paths.get_mut(index).ok_or("there is no such link")?)
    }

    /// A publisher of the track beside a relay.
    pub(crate) fn publish(&mut self, at: usize, size: usize) -> Result<(), Failure> {
        let Pace { rate, gop } = self.pace;
        let (rate, gop, size) = (rate.to_string(), gop.to_string(), size.to_string());
        let load = ["synth", "--sync", "--rate", &rate, "--gop", &gop, "--size", &size];
        // Its log tells which objects it made.
        let log = ["--log-level", "trace", "--log-format", "json"];
        let user = self.user(at, "pub", &[&load[..], &log].concat(), self.publishers.len())?;
        self.publishers.push(user);
        Ok(())
    }

    /// A publisher of this many further tracks beside a relay, in no hurry.
    pub(crate) fn publish_more(&mut self, at: usize, tracks: usize) -> Result<(), Failure> {
        let (url, tracks) = (format!("moqt://127.0.0.1:{CLIENTS}"), tracks.to_string());
        let words = [
            "pub", &url, NAMESPACE, MORE, "synth", "--rate", "1", "--size", "100",
        ];
        let words = [&words[..], &["--tracks", &tracks, "--insecure"]].concat();
        let program = self.tools.laps.clone();
        let process = self.other(at, program.as_os_str(), &words, "pub-more")?;
        self.others.push(process);
        Ok(())
    }

    /// Sessions beside a relay, each of which subscribes to these tracks; returns when they have them. They are one process.
    pub(crate) fn hold(&mut self, at: usize, tracks: &[String], sessions: usize) -> Result<(), Failure> {
        let (relay, sessions) = (format!("127.0.0.1:{CLIENTS}"), sessions.to_string());
        let words = ["peer", &relay, "hold", NAMESPACE, "--sessions", &sessions];
        let names: Vec<&str> = tracks.iter().map(String::as_str).collect();
        let program = std::env::current_exe()?;
        let name = format!("hold-{}", self.others.len());
        let process = self.other(at, program.as_os_str(), &[&words[..], &names].concat(), &name)?;
        let mut holder = Holder::of(process)?;
        let said = holder.line()?;
        if said != "holds" {
            return Err(format!("a peer does not get its tracks: {said}").into());
        }
        self.holders.push(holder);
        Ok(())
    }

    /// The same of the track that is judged.
    pub(crate) fn crowd(&mut self, at: usize, sessions: usize) -> Result<(), Failure> {
        self.hold(at, &[NAME.to_owned()], sessions)
    }

    /// What a further track is called.
    pub(crate) fn further(number: usize) -> String {
        format!("{MORE}-{number}")
    }

    fn other(&self, at: usize, program: &OsStr, words: &[&str], name: &str) -> Result<Process, Failure> {
        let relay = self.relays.get(at).ok_or("there is no such relay")?;
        Process::start(Start {
            space: &relay.place.space,
            program,
            words: words.iter().map(ToString::to_string).collect(),
            env: Vec::new(),
            log: &self.dir.join(format!("{name}.log")),
        })
    }

    /// A subscriber of the track beside a relay.
    pub(crate) fn subscribe(&mut self, at: usize) -> Result<(), Failure> {
        let user = self.user(
            at,
            "sub",
            &["--json", "--timeout", "20", "-d"],
            self.subscribers.len(),
        )?;
        self.subscribers.push(user);
        Ok(())
    }

    fn user(&self, at: usize, command: &str, more: &[&str], number: usize) -> Result<User, Failure> {
        let relay = self.relays.get(at).ok_or("there is no such relay")?;
        let name = format!("{command}-{number}");
        let log = self.dir.join(format!("{name}.log"));
        let url = format!("moqt://127.0.0.1:{CLIENTS}");
        let words = [&[command, &url, NAMESPACE, NAME], more, &["--insecure"]].concat();
        let mut process = Process::start(Start {
            space: &relay.place.space,
            program: self.tools.laps.as_os_str(),
            words: words.iter().map(ToString::to_string).collect(),
            env: Vec::new(),
            log: &log,
        })?;
        let tape = Tape::of(self.pace);
        tape.follow(process.output()?);
        Ok(User {
            _process: process,
            tape,
            log,
            name,
        })
    }

    /// Waits until every subscriber receives.
    pub(crate) fn all_receive(&self) -> Result<(), Failure> {
        for user in &self.subscribers {
            user.tape
                .more(self.pace.gop, START)
                .map_err(|error| format!("{}: {error}", user.name))?;
        }
        Ok(())
    }

    /// Waits until everybody receives again, and a little longer; gives the last object to judge by.
    pub(crate) fn settle(&self) -> Result<u64, Failure> {
        let everybody = |newest: u64, what: &str| -> Result<(), Failure> {
            for user in &self.subscribers {
                let what = format!("{} {what}", user.name);
                user.tape
                    .wait(GO_ON, &what, |record| record.newest() >= Some(newest))?;
            }
            Ok(())
        };
        everybody(self.pace.due(record::now()) + self.pace.gop, "receives again")?;
        // What is late is let come, and only what is whole is judged.
        let last = self.pace.due(record::now());
        everybody(last + 2 * self.pace.gop, "goes on")?;
        Ok(last)
    }

    /// All that publishers made.
    pub(super) fn made(&self) -> BTreeSet<u64> {
        let logs = self.publishers.iter().map(|user| text(&user.log));
        logs.flat_map(|log| record::made(&log, self.pace)).collect()
    }

    /// What each subscriber lost up to that object.
    pub(crate) fn losses(&self, last: u64, begun: u64, over: u64) -> Vec<Losses> {
        let made = self.made();
        let judged = self
            .subscribers
            .iter()
            .map(|user| judge(&user.tape.read(), &made, last, begun, over));
        judged.collect()
    }

    /// Ends all relays, and counts what they said on their links for publications, subscriptions and their data.
    pub(crate) fn messages_said(&mut self) -> Result<usize, Failure> {
        /// Of links and nodes, at a pace of their own.
        const OTHERS: [&str; 7] = [
            "CONNECT",
            "CONNECT_RESPONSE",
            "NODE_INFO_ADV",
            "NODE_INFO_WD",
            "LEAVING",
            "PING",
            "PONG",
        ];
        #[derive(serde::Deserialize)]
        struct Line {
            said: String,
        }
        // Those that stay would tell one another of the end of each.
        for relay in &mut self.relays {
            relay.process()?.signal("INT")?;
        }
        let mut sum = 0;
        for relay in &mut self.relays {
            relay.process()?.wait(GO_ON)?;
            let text = relay.text();
            for line in text.lines().filter(|line| line.contains("\"link is over\"")) {
                let line: Line = serde_json::from_str(line)?;
                for count in line.said.split(", ") {
                    let (kind, count) = count.split_once(' ').ok_or("no count of messages")?;
                    let count: usize = count.parse()?;
                    sum += if OTHERS.contains(&kind) { 0 } else { count };
                }
            }
        }
        if sum == 0 && self.relays.len() > 1 {
            return Err("the relays did not say what they said on their links".into());
        }
        Ok(sum)
    }

    /// What each subscriber lacks up to that object, as group/object, for whoever looks for the cause.
    pub(crate) fn missing(&self, last: u64) -> String {
        let made = self.made();
        let missing = |user: &User| {
            let record = user.tape.read();
            let wanted = made.range(record.oldest().unwrap_or(0)..=last);
            let lacks = wanted.filter(|sequence| !record.came.contains_key(sequence));
            let lacks: Vec<_> = lacks
                .map(|sequence| format!("{}/{}", sequence / self.pace.gop, sequence % self.pace.gop))
                .collect();
            format!("{} lacks [{}]", user.name, lacks.join(" "))
        };
        let all: Vec<_> = self.subscribers.iter().map(missing).collect();
        all.join(", ")
    }

    /// The same, once what is fetched after a failure has had its time.
    pub(crate) fn repaired(&self, last: u64, begun: u64, over: u64) -> Vec<Losses> {
        let until = Instant::now() + GO_ON;
        loop {
            let losses = self.losses(last, begun, over);
            if losses.iter().all(|losses| losses.lost == 0) || Instant::now() > until {
                return losses;
            }
            std::thread::sleep(10 * LOOK);
        }
    }

    /// Every subscriber has every one of these objects, once.
    pub(crate) fn whole_once(&self, objects: Range<u64>) -> Result<(), Failure> {
        let made = self.made();
        let made: Vec<_> = made.range(objects).collect();
        for user in &self.subscribers {
            let what = format!("{} has all of {} objects once", user.name, made.len());
            user.tape.wait(GO_ON, &what, |record| {
                let times = |sequence: &u64| record.came.get(sequence).map_or(0, Vec::len);
                record.wrong.is_empty() && made.iter().all(|sequence| times(sequence) == 1)
            })?;
        }
        Ok(())
    }

    /// Every subscriber has every object from its first one on, once.
    pub(crate) fn everything_once(&self) -> Result<(), Failure> {
        let last = self.settle()?;
        let now = record::now();
        for (user, losses) in self.subscribers.iter().zip(self.repaired(last, now, now)) {
            if (losses.lost, losses.duplicated, losses.wrong) != (0, 0, 0) {
                let missing = self.missing(last);
                return Err(format!("{}: {losses:?}; {missing}", user.name).into());
            }
        }
        Ok(())
    }
}

impl Relay {
    /// Starts it; returns when its port is open.
    fn start(&mut self, tools: &Tools) -> Result<(), Failure> {
        let port = CLIENTS.to_string();
        let words = ["--port", &port, "--log-format", "json", "--log-level", "trace"];
        let mut process = Process::start(Start {
            space: &self.place.space,
            program: tools.laps.as_os_str(),
            words: words.iter().map(ToString::to_string).collect(),
            env: self.env.clone(),
            log: &self.log,
        })?;
        let output = process.output()?;
        self.process = Some(process);
        let mut output = BufReader::new(output).lines().map_while(Result::ok);
        if !output.any(|line| line.contains("listening on")) {
            return Err(format!("a relay did not start: {}", text(&self.log)).into());
        }
        // What it says later is read, so that it never waits to say it.
        let (tell, told) = channel();
        self.told = Some(told);
        std::thread::spawn(move || {
            for line in output {
                if let Some(census) = line.strip_prefix("census ") {
                    // Nobody wants to know any more.
                    drop(tell.send(census.to_owned()));
                }
            }
        });
        Ok(())
    }

    /// All that it logged.
    pub(crate) fn text(&self) -> String {
        text(&self.log)
    }

    /// Waits until it has logged a line with all of these words.
    pub(crate) fn logs(&self, words: &[&str]) -> Result<(), Failure> {
        let until = Instant::now() + GO_ON;
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        while !text(&self.log).lines().any(has_all) {
            if Instant::now() > until {
                return Err(format!("no line with {words:?} in {}", self.log.display()).into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Its process.
    pub(crate) fn process(&mut self) -> Result<&mut Process, Failure> {
        Ok(self.process.as_mut().ok_or("it does not run")?)
    }
}

fn text(path: &std::path::Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
