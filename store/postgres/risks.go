package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// askRisks reads settings that every role may read. Of standbys, roles without
// the right to see more are shown at least that there are some.
const askRisks = `SELECT current_setting('fsync', true) = 'off', current_setting('full_page_writes', true) = 'off',
	coalesce(current_setting('synchronous_standby_names', true), '') <> '' AND current_setting('synchronous_commit', true) <> 'local',
	(SELECT count(*) FROM pg_stat_replication)`

// Risks looks at how the server keeps what it confirms.
func (s *store) Risks(ctx context.Context) (risks []bill.Risk, err error) {
	var noSync, tornPages, waits *bool
	var standbys int
	err = s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, askRisks).Scan(&noSync, &tornPages, &waits, &standbys)
	})
	if err != nil {
		return nil, err
	}
	is := func(b *bool) bool { return b != nil && *b }
	if is(noSync) {
		risks = append(risks, bill.Risk{
			What:   "the database does not write to the disk before it confirms: fsync is off, and a power cut forgets payments",
			Remedy: "Set fsync = on in postgresql.conf and reload PostgreSQL.",
		})
	}
	if is(tornPages) {
		risks = append(risks, bill.Risk{
			What:   "a power cut may leave half a page in the database: full_page_writes is off",
			Remedy: "Set full_page_writes = on in postgresql.conf and reload PostgreSQL.",
		})
	}
	if !is(waits) && (standbys > 0 || s.severalHosts()) {
		risks = append(risks, bill.Risk{
			What:   "commits do not wait for the standby: a failover forgets the last payments that were confirmed",
			Remedy: "Name the standbys in synchronous_standby_names, with synchronous_commit on or remote_apply, and reload PostgreSQL.",
		})
	}
	return risks, nil
}

// severalHosts reports whether the connection string names more than one server.
// pgx has a fallback without TLS for the same one, too.
func (s *store) severalHosts() bool {
	c := s.settings.Load().config.ConnConfig
	for _, f := range c.Fallbacks {
		if f.Host != c.Host || f.Port != c.Port {
			return true
		}
	}
	return false
}

// Interface guard
var _ bill.Examiner = (*store)(nil)
