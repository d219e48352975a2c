//! The shared kit of the system's tests: starts the real binaries, breaks them and the links between
//! them, and gathers what the oracle judges.
//!
//! | room | does |
//! |---|---|
//! | [`api`] | the cloud's API over HTTPS |
//! | [`http`] | one plain request to a local endpoint, on any host |
//! | [`process`] | one child: start, kill, stop, restart |
//! | [`ports`] | ports that stay free over a restart |
//! | [`proxy`] | a TCP link that can be cut, stalled, half-opened or slowed |
//! | [`haproxy`] | the shipped entry before broker and API |
//! | [`measure`] | CPU, memory and disk of a process, and the arithmetic of figures |
//! | [`mosquitto`] | another broker than ours |
//! | [`pulse`] | when the machine itself stood still |
//! | [`devices`] | the simulated devices: started, silenced, what they answered |
//! | [`gateway`] | one gateway: its lives and what it says |
//! | [`settled`] | data flows; nothing is held any more |
//! | [`evidence`] | what the judge is given |
//! | [`stack`] | all of it together, and the evidence |
//! | [`site`] | the simulated field and the gateways' configuration |
//! | [`wait`] | wait for a condition, never for luck |

#![forbid(unsafe_code)]

pub mod api;
pub mod devices;
pub mod evidence;
pub mod gateway;
pub mod haproxy;
pub mod http;
pub mod measure;
pub mod mosquitto;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod pulse;
pub mod settled;
pub mod site;
pub mod stack;
pub mod wait;
