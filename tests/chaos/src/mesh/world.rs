//! A mesh of relays, and publishers and subscribers beside them.

use super::holder::Holder;
use super::node::{Node, Role};
use super::path::{Path, Plan};
use super::relay::Relay;
use super::roads::Roads;
use crate::Failure;
use crate::process::{Process, Start};
use crate::record::{Pace, Tape};
use crate::scene::Tools;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Where clients and relays find a relay; nothing else is in its namespace.
pub(super) const CLIENTS: u16 = 33_435;
pub(super) const RELAYS: u16 = 33_434;
/// How long clients may take to be there at the beginning, on a busy machine of two cores.
pub(super) const START: Duration = Duration::from_secs(30);
/// How long everybody has to go on after something happened.
pub(super) const GO_ON: Duration = Duration::from_secs(20);

/// Seconds that those who are asked to leave a relay have for it.
const GRACE: &str = "3";

/// The track of every mesh.
pub(crate) const NAMESPACE: &str = "mesh";
const NAME: &str = "video";
/// What further tracks are called, each with its number.
const MORE: &str = "more";

/// A publisher, or a subscriber.
#[derive(Debug)]
pub(crate) struct User {
    /// Ends with it.
    _process: Process,
    /// What it received, if it is one that receives.
    pub(crate) tape: Tape,
    pub(super) log: PathBuf,
    pub(super) name: String,
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
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value));
        let log = self.dir.join(format!("relay-{number}.log"));
        let mut relay = Relay::at(place, env.collect(), log);
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
}
