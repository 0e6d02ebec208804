//! Agents that vanish and come back, and what becomes of their tasks.

use super::super::agent::Loss;
use super::super::event::Event;
use super::super::instance::{Condition, Findings};
use super::super::stamp::Stamp;
use super::{Out, Timer, World};

impl World {
    /// Loses an agent: its tasks become unreachable, and are replaced as their strategy says. False if unknown.
    pub fn lose_agent(&mut self, name: &str, loss: Loss, now: Stamp) -> bool {
        let Some(agent) = self.agents.get_mut(name) else { return false };
        if agent.lost.replace(loss).is_some() {
            return true;
        }
        for id in self.on_agent(name) {
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            let known = instance.healthy().is_some();
            if instance.condition == Condition::Killing {
                self.out.push_back(Out::Stop(id.clone()));
                self.forget(&id);
                continue;
            }
            instance.condition = Condition::Unreachable;
            instance.unreachable_since = Some(now);
            let mut events = vec![
                Event::status_update(instance, "", now),
                Event::instance_changed(instance, Condition::Unreachable, now),
            ];
            if known {
                events.push(Event::instance_health(instance, None, now));
            }
            let (app, strategy) = (instance.def.id.clone(), instance.def.facts.unreachable);
            if loss == Loss::Dead {
                self.out.push_back(Out::Stop(id.clone()));
            }
            self.out.extend(events.into_iter().map(Out::Event));
            if let Some(strategy) = strategy {
                let due = now.plus(self.seconds(strategy.inactive_after));
                self.after(due, Timer::Inactive(id.clone(), now));
                let due = due.max(now.plus(self.seconds(strategy.expunge_after)));
                self.after(due, Timer::Expunge(id, now));
            }
            self.dirty.insert(app);
        }
        true
    }

    /// Brings a lost agent back: tasks that were only cut off run on, surplus ones are killed. False if not lost.
    pub fn return_agent(&mut self, name: &str, now: Stamp) -> bool {
        let Some(loss) = self.agents.get_mut(name).and_then(|agent| agent.lost.take()) else { return false };
        for id in self.on_agent(name) {
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            instance.condition = Condition::Starting;
            instance.unreachable_since = None;
            instance.findings = vec![Findings::default(); instance.findings.len()];
            match loss {
                Loss::Partitioned => self.started(&id, now),
                Loss::Dead => self.out.push_back(Out::Start(Box::new(instance.clone()))),
            }
        }
        let strangers: Vec<String> =
            self.zombies.values().filter(|zombie| zombie.host == name).map(|zombie| zombie.id.clone()).collect();
        for id in strangers {
            let Some(zombie) = self.zombies.remove(&id) else { continue };
            self.out.push_back(Out::Stop(id));
            self.emit(Event::unknown_terminated(&zombie, Condition::Killed, now));
            if let Some(agent) = self.agents.get_mut(name) {
                agent.release(&zombie.ports);
            }
        }
        self.dirty.extend(self.runtimes.keys().cloned());
        true
    }

    pub(super) fn inactive(&mut self, id: &str, since: Stamp, now: Stamp) {
        let Some(instance) = self.unreachable_since(id, since) else { return };
        instance.condition = Condition::UnreachableInactive;
        let (app, event) =
            (instance.def.id.clone(), Event::instance_changed(instance, Condition::UnreachableInactive, now));
        self.emit(event);
        self.dirty.insert(app);
    }

    pub(super) fn expunge(&mut self, id: &str, since: Stamp, now: Stamp) {
        let Some(instance) = self.unreachable_since(id, since) else { return };
        let instance = instance.clone();
        self.emit(Event::instance_changed(&instance, Condition::Killed, now));
        let partitioned = self.agents.get(&instance.host).is_some_and(|agent| agent.lost == Some(Loss::Partitioned));
        self.forget(id);
        if partitioned {
            self.zombies.insert(id.to_owned(), instance);
        }
    }

    fn on_agent(&self, name: &str) -> Vec<String> {
        self.instances.values().filter(|i| i.host == name).map(|i| i.id.clone()).collect()
    }

    /// The instance, if it is still unreachable (a stale timer finds it running or gone).
    fn unreachable_since(&mut self, id: &str, since: Stamp) -> Option<&mut super::Instance> {
        self.instances.get_mut(id).filter(|i| i.unreachable_since == Some(since))
    }
}
