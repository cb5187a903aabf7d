//! A scene: one relay, publishers and subscribers of a track, and two bystanders with a track of their own. Or two relays,
//! and the subscribers beside the second one.

use crate::Failure;
use crate::hook::Hook;
use crate::judge::{Losses, judge, missing};
use crate::member;
use crate::net::{Net, Node};
use crate::process::{Process, Start};
use crate::record::{self, GOP, Pace, RATE, Record, Tape};
use crate::relay::{PORT, Relay, Setup};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long clients may take to be there at the beginning: four scenes start at once on a machine of two cores.
const START: Duration = Duration::from_secs(30);
/// How long everybody has to go on after a fault, over what the fault itself may take.
const GO_ON: Duration = Duration::from_secs(20);

/// How long what is fetched after a failure may take.
const REPAIRED: Duration = Duration::from_secs(5);

/// Objects that may miss in the log of a publisher that was killed while it wrote.
const UNTOLD: usize = 50;

/// What the harness was given.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// A `laps` with the feature `chaos`.
    pub(crate) laps: PathBuf,
    /// The library that fakes the time of one process, if there is one.
    pub(crate) faketime: Option<PathBuf>,
    /// Where scenes keep their files.
    pub(crate) scratch: PathBuf,
    /// How long it is looked for false alarms.
    pub(crate) watched: Duration,
}

/// Whose path to the relay leads through a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Nobody,
    Subscriber,
    Publisher,
}

/// What a fault needs to happen in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    /// Threads of the relay.
    pub(crate) workers: usize,
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    pub(crate) nat: Behind,
    /// Run the relay under a clock that can be set.
    pub(crate) clock: bool,
    /// Keep the relay's log on a file system that can be filled.
    pub(crate) small_log: bool,
    /// The subscribers of the track are beside another relay, which dials the first one; all else is beside that.
    pub(crate) mesh: bool,
    /// Bytes an object.
    pub(crate) size: usize,
    /// Settings of the relay.
    pub(crate) env: &'static [(&'static str, &'static str)],
}

impl Wants {
    /// One publisher, two subscribers, two threads.
    pub(crate) const PLAIN: Self = Self {
        workers: 2,
        publishers: 1,
        subscribers: 2,
        nat: Behind::Nobody,
        clock: false,
        small_log: false,
        mesh: false,
        size: 600,
        env: &[],
    };
}

/// A client of the relay.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) node: Node,
    pub(crate) process: Option<Process>,
    /// What it received, if it is one that receives.
    pub(crate) tape: Tape,
    nat: Option<Process>,
    program: OsString,
    words: Vec<String>,
    log: PathBuf,
}

impl Client {
    /// Starts it, for the first time or again; what it receives is written to the same record.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        let mut process = Process::start(Start {
            space: &self.node.space,
            program: &self.program,
            words: self.words.clone(),
            env: Vec::new(),
            log: &self.log,
        })?;
        self.tape.follow(process.output()?);
        self.process = Some(process);
        Ok(())
    }

    /// Its process.
    pub(crate) fn process(&mut self) -> Result<&mut Process, Failure> {
        Ok(self.process.as_mut().ok_or("it does not run")?)
    }

    /// Gives its NAT another port, at this address or at any.
    pub(crate) fn rebind(&mut self, address: &str) -> Result<(), Failure> {
        let nat = self.nat.as_mut().ok_or("there is no NAT")?;
        let input = nat.input()?;
        writeln!(input, "{address}")?;
        Ok(input.flush()?)
    }
}

/// Another relay.
#[derive(Debug)]
pub(crate) struct Far {
    pub(crate) relay: Relay,
    /// Its place, which its clients share.
    pub(crate) node: Node,
}

/// What happens in the network of one relay.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) relay: Relay,
    /// In a mesh, the relay that the subscribers are beside.
    pub(crate) far: Option<Far>,
    pub(crate) publishers: Vec<Client>,
    pub(crate) subscribers: Vec<Client>,
    /// The publisher and the subscriber of another track.
    pub(crate) bystanders: Vec<Client>,
    pub(crate) dir: PathBuf,
    pub(crate) tools: Tools,
    size: usize,
    // Last, so that processes end before their network does.
    net: Net,
}

/// The track that faults are about, as the relay names it.
pub(crate) const TRACK: &str = "chaos:video";
/// Its namespace.
pub(crate) const NAMESPACE: &str = "chaos";
const ASIDE: &str = "aside";
const NAME: &str = "video";

impl Scene {
    /// Starts everything and waits until everybody receives.
    pub(crate) fn begin(tools: &Tools, wants: &Wants, number: usize) -> Result<Self, Failure> {
        let dir = tools.scratch.join(format!("scene-{number}"));
        std::fs::create_dir_all(&dir)?;
        let mut net = Net::new(number)?;
        let member = |number, dialled: &[String]| {
            let settings = || member::settings(&dir, number, "edge", dialled);
            wants.mesh.then(settings).unwrap_or_default()
        };
        if wants.mesh {
            member::certify(&tools.laps, &dir, 2)?;
        }
        let relay = Relay::start(Setup {
            tools,
            wants,
            dir: &dir,
            space: net.relay(),
            name: "relay",
            member: member(1, &[]),
        })?;
        let mut far = None;
        if wants.mesh {
            let node = net.join()?;
            let relay = Relay::start(Setup {
                tools,
                wants,
                dir: &dir,
                space: &node.space,
                name: "far",
                member: member(2, &[format!("{}:{}", node.gateway, member::RELAYS)]),
            })?;
            far = Some(Far { relay, node });
        }
        let mut scene = Self {
            relay,
            far,
            publishers: Vec::new(),
            subscribers: Vec::new(),
            bystanders: Vec::new(),
            dir,
            tools: tools.clone(),
            size: wants.size,
            net,
        };
        for index in 0..wants.publishers {
            let nat = wants.nat == Behind::Publisher && index == 0;
            let client = scene.publisher(NAMESPACE, &format!("publisher-{index}"), nat)?;
            scene.publishers.push(client);
        }
        let aside = scene.publisher(ASIDE, "bystander-publisher", false)?;
        scene.bystanders.push(aside);
        for index in 0..wants.subscribers {
            let nat = wants.nat == Behind::Subscriber && index == 0;
            let client = scene.subscriber(NAMESPACE, &format!("subscriber-{index}"), nat)?;
            scene.subscribers.push(client);
        }
        let aside = scene.subscriber(ASIDE, "bystander", false)?;
        scene.bystanders.push(aside);
        for tape in scene.tapes() {
            tape.more(GOP, START)
                .map_err(|error| format!("at the beginning: {error}"))?;
        }
        Ok(scene)
    }

    fn publisher(&mut self, namespace: &str, name: &str, nat: bool) -> Result<Client, Failure> {
        let (rate, gop, size) = (RATE.to_string(), GOP.to_string(), self.size.to_string());
        let load = ["synth", "--sync", "--rate", &rate, "--gop", &gop, "--size", &size];
        // Its log tells which objects it made.
        let log = ["--log-level", "trace", "--log-format", "json"];
        self.client(
            &["pub"],
            &[&[namespace, NAME], &load[..], &log].concat(),
            name,
            nat,
        )
    }

    fn subscriber(&mut self, namespace: &str, name: &str, nat: bool) -> Result<Client, Failure> {
        let more = [namespace, NAME, "--json", "--timeout", "20", "-d"];
        match &self.far {
            Some(far) if namespace == NAMESPACE => {
                let at = (far.node.clone(), format!("127.0.0.1:{PORT}"), None);
                self.client_at(at, &["sub"], &more, name)
            }
            Some(_) | None => self.client(&["sub"], &more, name, nat),
        }
    }

    /// One more subscriber of the track.
    pub(crate) fn one_more(&mut self) -> Result<(), Failure> {
        let name = format!("subscriber-{}", self.subscribers.len());
        let client = self.subscriber(NAMESPACE, &name, false)?;
        client.tape.more(GOP, START)?;
        self.subscribers.push(client);
        Ok(())
    }

    /// Starts a client: what stands before the URL, what behind it, how its log is called.
    pub(crate) fn client(
        &mut self,
        before: &[&str],
        behind: &[&str],
        name: &str,
        nat: bool,
    ) -> Result<Client, Failure> {
        let node = self.net.join()?;
        let direct = format!("{}:{}", node.gateway, self.relay.port());
        let (address, nat) = if nat {
            let (nat, port) = self.nat(&node, &direct)?;
            (format!("127.0.0.1:{port}"), Some(nat))
        } else {
            (direct, None)
        };
        self.client_at((node, address, nat), before, behind, name)
    }

    /// The same at this place; there it finds a relay at this address, and its NAT.
    fn client_at(
        &self,
        (node, address, nat): (Node, String, Option<Process>),
        before: &[&str],
        behind: &[&str],
        name: &str,
    ) -> Result<Client, Failure> {
        let mut words: Vec<String> = before.iter().map(ToString::to_string).collect();
        words.push(format!("moqt://{address}"));
        words.extend(behind.iter().map(ToString::to_string));
        words.push("--insecure".to_owned());
        let mut client = Client {
            node,
            process: None,
            tape: Tape::default(),
            nat,
            program: self.tools.laps.clone().into(),
            words,
            log: self.dir.join(format!("{name}.log")),
        };
        client.start()?;
        Ok(client)
    }

    fn nat(&self, node: &Node, to: &str) -> Result<(Process, u16), Failure> {
        let mut process = self.start_part(node, &["nat", to])?;
        let mut line = String::new();
        BufReader::new(process.output()?).read_line(&mut line)?;
        Ok((process, line.trim().parse()?))
    }

    /// A place for a peer that is no `laps`.
    pub(crate) fn place(&mut self) -> Result<Node, Failure> {
        self.net.join()
    }

    /// Runs a part of this program in that place and gives what it prints.
    pub(crate) fn part(&self, place: &Node, words: &[&str]) -> Result<String, Failure> {
        let mut process = self.start_part(place, words)?;
        let mut said = String::new();
        process.output()?.read_to_string(&mut said)?;
        let status = process.wait(GO_ON)?;
        if status.success() {
            return Ok(said.trim().to_owned());
        }
        let why = std::fs::read_to_string(process.log()).unwrap_or_default();
        Err(format!("{}: {status}: {}", words.join(" "), why.trim()).into())
    }

    /// Starts a part of this program in that place.
    pub(crate) fn start_part(&self, place: &Node, words: &[&str]) -> Result<Process, Failure> {
        let program = std::env::current_exe()?;
        Process::start(Start {
            space: &place.space,
            program: program.as_os_str(),
            words: words.iter().map(ToString::to_string).collect(),
            env: Vec::new(),
            log: &self.dir.join("part.log"),
        })
    }

    /// Whether all relays run.
    pub(crate) fn is_alive(&mut self) -> Result<bool, Failure> {
        let far = match &mut self.far {
            Some(far) => far.relay.is_alive()?,
            None => true,
        };
        Ok(far && self.relay.is_alive()?)
    }

    /// The relay's test hook.
    pub(crate) fn hook(&self) -> &Hook {
        self.relay.hook()
    }

    fn tapes(&self) -> impl Iterator<Item = &Tape> {
        let bystander = self.bystanders.iter().skip(1);
        self.subscribers
            .iter()
            .chain(bystander)
            .map(|client| &client.tape)
    }

    /// Waits until everybody receives again, and a little longer; gives the last object to judge by.
    pub(crate) fn settle(&self, absent: Option<usize>) -> Result<u64, Failure> {
        let bystander = self.bystanders.iter().skip(1).map(|client| (usize::MAX, client));
        let all = || self.subscribers.iter().enumerate().chain(bystander.clone());
        let everybody = |newest: u64, what: &str| -> Result<(), Failure> {
            for (_, client) in all().filter(|(index, _)| Some(*index) != absent) {
                let who = client.log.file_stem().unwrap_or_default().to_string_lossy();
                let what = format!("{who} {what}");
                client
                    .tape
                    .wait(GO_ON, &what, |record| record.newest() >= Some(newest))?;
            }
            Ok(())
        };
        everybody(record::due(record::now()) + GOP, "receives again")?;
        // What is late is let come, and only what is whole is judged.
        let last = record::due(record::now());
        everybody(last + 2 * GOP, "goes on")?;
        Ok(last)
    }

    /// Waits until the subscribers of another relay than the publisher's have what is fetched after a link was made again.
    fn until_repaired(&self, made: &BTreeSet<u64>, last: u64) {
        let until = Instant::now() + REPAIRED;
        for client in self.subscribers.iter().filter(|_| self.far.is_some()) {
            let all = |record: &Record| {
                let mut wanted = made.range(record.oldest().unwrap_or(0)..=last);
                wanted.all(|sequence| record.came.contains_key(sequence))
            };
            // What has not come by then is counted.
            let left = until.saturating_duration_since(Instant::now());
            client.tape.wait(left, "what was lost on the way", all).ok();
        }
    }

    /// Who is judged, with what was made for him: each subscriber, and the bystander last.
    fn judged(&self) -> Vec<(&Client, Rc<BTreeSet<u64>>)> {
        let made = |publishers: &[Client]| -> Rc<BTreeSet<u64>> {
            let logs = publishers.iter().map(|publisher| &publisher.log);
            let texts = logs.map(|log| std::fs::read(log).unwrap_or_default());
            let made = texts.flat_map(|text| record::made(&String::from_utf8_lossy(&text), Pace::default()));
            Rc::new(made.collect())
        };
        let video = made(&self.publishers);
        let aside = made(self.bystanders.get(..1).unwrap_or_default());
        let bystander = self
            .bystanders
            .iter()
            .skip(1)
            .map(|client| (client, Rc::clone(&aside)));
        let subscribers = self.subscribers.iter().map(|client| (client, Rc::clone(&video)));
        subscribers.chain(bystander).collect()
    }

    /// What each subscriber lost, and the bystander last.
    pub(crate) fn losses(&self, last: u64, begun: u64, over: u64) -> Result<Vec<Losses>, Failure> {
        let all = self.judged();
        if let Some((_, video)) = all.first() {
            self.until_repaired(video, last);
        }
        let judged = all.iter().map(|(client, made)| {
            let record = client.tape.read();
            // Without the logs of the publishers nothing would ever be missed.
            let untold = record
                .came
                .keys()
                .filter(|sequence| **sequence <= last && !made.contains(sequence))
                .count();
            if untold > UNTOLD {
                return Err(format!("{untold} objects came that no publisher's log has").into());
            }
            Ok(judge(&record, made, last, begun, over))
        });
        judged.collect()
    }

    /// What each of those lacks up to that object.
    pub(crate) fn missing(&self, last: u64) -> String {
        let all = self.judged().into_iter().map(|(client, made)| {
            let who = client.log.file_stem().unwrap_or_default().to_string_lossy();
            format!("{who} lacks [{}]", missing(&client.tape.read(), &made, last, GOP))
        });
        all.collect::<Vec<_>>().join(", ")
    }

    /// The ends of all logs, for a run that failed.
    pub(crate) fn tails(dir: &Path) -> String {
        let mut text = String::new();
        let Ok(entries) = std::fs::read_dir(dir) else {
            return text;
        };
        let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        logs.sort();
        for log in logs
            .iter()
            .filter(|log| log.extension().is_some_and(|name| name == "log"))
        {
            let all = std::fs::read(log).unwrap_or_default();
            let all = String::from_utf8_lossy(&all);
            let lines: Vec<&str> = all.lines().collect();
            text.push_str(&format!("--- {}\n", log.display()));
            for line in lines.iter().skip(lines.len().saturating_sub(8)) {
                text.push_str(&format!("    {line}\n"));
            }
        }
        text
    }
}
