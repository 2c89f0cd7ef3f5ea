"""How podsquad is run unattended: server, work pool, worker, deployments, automations."""
