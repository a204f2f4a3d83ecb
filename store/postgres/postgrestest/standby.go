//go:build linux

package postgrestest

import "fmt"

// Standby starts a server that follows this one, with settings of its own
// behind its primary's. From when it returns, a commit at the primary is
// acknowledged only after the standby has it on disk: whatever was acknowledged
// is there after Promote. With several standbys a commit waits for any one, so no
// single one is sure to have all; who wants no commit to wait sets the primary's
// synchronous_standby_names to "" with Set.
func (s *Server) Standby(settings ...string) *Server {
	s.t.Helper()
	c, err := newCluster()
	s.must(err)
	standby := own(s.t, c)
	standby.primary = s.cluster
	name := "standby_" + s.cluster.newName()
	s.must(c.run("pg_basebackup", "--dbname="+dsn(s.cluster.dir, superuser, "postgres")+" application_name="+name,
		"--pgdata="+c.data(), "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"))
	s.must(c.addSettings(settings))
	s.must(c.start())
	s.must(s.cluster.set("synchronous_standby_names", "ANY 1 (*)"))
	s.must(await("follow the primary", c.first.ended, func() (bool, error) {
		state, err := s.cluster.ask("SELECT sync_state FROM pg_stat_replication WHERE application_name = " + quote(name))
		return state == "quorum", err
	}))
	// Whether commits wait is decided by the process that makes checkpoints,
	// which looks at its settings before it makes one.
	s.must(s.cluster.tell("CHECKPOINT"))
	return standby
}

// Promote makes a primary of a standby, whatever has become of the one before.
// It waits for no standby of its own.
func (s *Server) Promote() {
	s.t.Helper()
	s.must(s.cluster.set("synchronous_standby_names", ""))
	done, err := s.cluster.ask(fmt.Sprintf("SELECT pg_promote(true, %d)", int(patience.Seconds())))
	s.must(err)
	if done != "t" {
		s.t.Fatal("promote: the standby did not become a primary")
	}
}

// CatchUp returns when a standby shows all that its primary had committed when
// it was called: what is safe there is not yet to be seen there.
func (s *Server) CatchUp() {
	s.t.Helper()
	end, err := s.primary.ask("SELECT pg_current_wal_flush_lsn()")
	s.must(err)
	s.must(await("catch up with the primary", s.cluster.first.ended, func() (bool, error) {
		there, err := s.cluster.ask("SELECT pg_last_wal_replay_lsn() >= " + quote(end))
		return there == "t", err
	}))
}

// Failover returns the DSN of the database qlink at whichever of the servers is
// the primary when a connection is made.
func Failover(servers ...*Server) string {
	hosts, ports := "", ""
	for i, s := range servers {
		if i > 0 {
			hosts, ports = hosts+",", ports+","
		}
		hosts, ports = hosts+s.cluster.dir, ports+port
	}
	return fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable target_session_attrs=read-write", hosts, ports, superuser, superuser)
}
