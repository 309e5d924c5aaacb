//! [`Tenants`]: which submissions have containers in use, and how long they have
//! waited for one of their own.

use std::time::Duration;

use evalx_core::{Origin, WeakOrigin};

use crate::container::Container;

/// The containers that a submission has in use.
#[derive(Debug)]
pub(super) struct Tenant {
    origin: WeakOrigin,
    image: String,
    containers: usize,
    /// How long its sessions have waited for one of them, together.
    pub(super) waited: Duration,
}

/// Every submission that has used a container and may have more sessions.
#[derive(Debug, Default)]
pub(super) struct Tenants(Vec<Tenant>);

impl Tenants {
    /// A submission that has containers of an image in use.
    pub(super) fn find(&mut self, image: &str, origin: &Origin) -> Option<&mut Tenant> {
        self.known(image, origin).filter(|tenant| tenant.containers > 0)
    }

    fn known(&mut self, image: &str, origin: &Origin) -> Option<&mut Tenant> {
        self.0.iter_mut().find(|tenant| tenant.image == image && tenant.origin.is(origin))
    }

    /// Notes that a submission uses this container.
    pub(super) fn let_to(&mut self, container: &mut Container, origin: Option<&Origin>) {
        container.origin = origin.map(Origin::downgrade);
        let Some(origin) = origin else { return };
        match self.known(&container.image, origin) {
            Some(tenant) => tenant.containers += 1,
            None => self.0.push(Tenant {
                origin: origin.downgrade(),
                image: container.image.clone(),
                containers: 1,
                waited: Duration::ZERO,
            }),
        }
    }

    /// Notes that its submission does not use this container any more.
    pub(super) fn vacate(&mut self, container: &Container) {
        let owns = |tenant: &Tenant| {
            tenant.image == container.image
                && container.origin.as_ref().is_some_and(|origin| origin.is_same(&tenant.origin))
        };
        if let Some(tenant) = self.0.iter_mut().find(|tenant| owns(tenant)) {
            tenant.containers = tenant.containers.saturating_sub(1);
        }
        self.0.retain(|tenant| tenant.containers > 0 || !tenant.origin.is_gone());
    }
}
