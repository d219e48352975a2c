//! Serial devices of a site.

use super::{LinePlan, SerialPlan, SiteError, cause, part, salt};
use crate::fault::{Board, Fault, Kind};
use crate::line::LineSettings;
use crate::script::Script;
use crate::serial::preset::{self, Frames, Values};
use crate::serial::{Answer, DeviceSetup, Frame, Say, Sentence, Template, TemplateError};
use crate::span::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Frames at most: each is looked at for every deadline.
const MOST_FRAMES: usize = 64;
/// A device cannot say things more often than this.
const MOST_OFTEN: Duration = Duration::from_millis(1);

/// What stands at the end of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SerialKind {
    /// A weighing scale: says its weight `every` so often, or only when asked with `S`.
    Scale,
    /// A GPS receiver.
    Nmea,
    /// An instrument that answers SCPI commands.
    Scpi,
    /// A sensor that sends binary frames with a CRC.
    Binary,
    /// Nothing but what `say` and `answer` tell.
    Template,
}

/// One serial device on a line of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialSite {
    /// What it is.
    pub kind: SerialKind,
    /// The link that is made, relative to the site file.
    pub link: PathBuf,
    /// Speed and format.
    #[serde(default = "plain")]
    pub line: LineSettings,
    /// A client that has set another speed is not understood.
    #[serde(default = "yes")]
    pub check_speed: bool,
    /// How often it sends by itself. A scale without it only answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Time>,
    /// Sentences of a GPS receiver; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentences: Option<Vec<Sentence>>,
    /// Values by name; a ready-made device has its own, which these replace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Script>,
    /// More that it says by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub say: Vec<SaySite>,
    /// More that it answers; comes before what a ready-made device answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answer: Vec<AnswerSite>,
    /// Last character of a request; a carriage return before it does not count.
    #[serde(default = "newline")]
    pub end: char,
    /// Faults from the start on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

const fn plain() -> LineSettings {
    LineSettings::PLAIN
}
const fn yes() -> bool {
    true
}
const fn newline() -> char {
    '\n'
}

/// A text that is sent by itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaySite {
    /// How often.
    pub every: Time,
    /// The text, see [`Template`].
    pub text: String,
}

/// A text that answers another.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerSite {
    /// The request, without its end.
    pub to: String,
    /// The text, see [`Template`].
    pub text: String,
    /// Time until the answer begins.
    #[serde(default = "soon")]
    pub after: Time,
}

const fn soon() -> Time {
    Time(Duration::from_millis(10))
}

impl SerialSite {
    pub(super) fn plan(
        &self,
        name: &str,
        folder: &Path,
        seed: u64,
    ) -> Result<SerialPlan, SiteError> {
        let place = || format!("serial.{name}");
        let (mut frames, own) = self.preset().map_err(cause(place()))?;
        let mut scripts: BTreeMap<&str, &Script> = own.iter().map(|(n, s)| (*n, s)).collect();
        scripts.extend(
            self.values
                .iter()
                .map(|(name, script)| (name.as_str(), script)),
        );
        let mut values = BTreeMap::new();
        for (value, script) in scripts {
            let signal = script.prepare(folder, salt(seed, &[name, value]));
            let signal = signal.map_err(cause(format!("serial.{name}.values.{value}")))?;
            values.insert(value.into(), signal);
        }
        let text = |text: &str| -> Result<Frame, SiteError> {
            let template = text.parse::<Template>();
            template.map(Frame::Text).map_err(cause(place()))
        };
        for say in &self.say {
            let frame = text(&say.text)?;
            let every = say.every.0;
            frames.says.push(Say { every, frame });
        }
        let answers = self.answer.iter().map(|answer| {
            let frame = text(&answer.text)?;
            let (to, after) = (answer.to.as_bytes().to_vec(), answer.after.0);
            Ok(Answer { to, after, frame })
        });
        let mut answers: Vec<Answer> = answers.collect::<Result<_, SiteError>>()?;
        answers.append(&mut frames.answers);
        if frames.says.iter().any(|say| say.every < MOST_OFTEN) {
            return Err(part(place(), "`every` is shorter than 1ms"));
        }
        if frames.says.len() + answers.len() > MOST_FRAMES {
            let what = format!("more than {MOST_FRAMES} of `say` and `answer`");
            return Err(part(place(), what));
        }
        let end = u8::try_from(self.end);
        let end = end.map_err(|_| part(place(), "`end` is one byte, such as \"\\n\""))?;
        for fault in &self.faults {
            means_something(fault).map_err(|what| part(place(), what))?;
        }
        let setup = DeviceSetup {
            name: name.into(),
            values,
            says: frames.says,
            answers,
            end,
            faults: Board::new(&self.faults).map_err(cause(place()))?,
        };
        setup.check().map_err(cause(place()))?;
        let line = LinePlan {
            link: super::plain(&folder.join(&self.link)),
            line: self.line,
            strict: true,
            check_speed: self.check_speed,
        };
        Ok(SerialPlan { line, setup })
    }

    fn preset(&self) -> Result<(Frames, Values), TemplateError> {
        let every = self.every.map(|every| every.0);
        let each_second = every.unwrap_or(Duration::from_secs(1));
        Ok(match self.kind {
            SerialKind::Scale => (preset::scale(every)?, preset::scale_values()),
            SerialKind::Scpi => (preset::scpi()?, preset::scpi_values()),
            SerialKind::Binary => (preset::binary(each_second), preset::binary_values()),
            SerialKind::Nmea => {
                let sentences = self.sentences.as_deref().unwrap_or(&Sentence::ALL);
                (preset::nmea(each_second, sentences), preset::nmea_values())
            }
            SerialKind::Template => (Frames::default(), Vec::new()),
        })
    }
}

/// Whether a serial device can have a fault.
///
/// # Errors
/// Which it can have.
pub(crate) fn means_something(fault: &Fault) -> Result<(), String> {
    let allowed = matches!(
        fault.kind,
        Kind::Silent | Kind::Late(_) | Kind::Garbage | Kind::WrongCrc | Kind::Cut | Kind::Stall(_)
    );
    allowed.then_some(()).ok_or_else(|| {
        format!(
            "{} means nothing to a serial device; use silent, late, garbage, wrong-checksum, cut or stall",
            fault.kind
        )
    })
}
