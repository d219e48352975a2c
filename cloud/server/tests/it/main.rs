//! The program as people use it: `fogline-cloud` and `nats-server` as processes on ephemeral ports,
//! set up by the commands of the guide, judged by the export.

#[cfg(test)]
mod gateway;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod site;
#[cfg(test)]
mod story;
