package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
	"github.com/caddy-qlink/caddy-qlink/store/internal/cursor"
)

const (
	maxPage = 1000 // the largest page, whatever is asked for
	// maxScan is how many entries of an index one call goes over at the most: a
	// filter that matches nothing gives an empty page and the way on, instead of a
	// long wait.
	maxScan = 10_000
)

// The names of the listings, in cursors.
const (
	listingBills         = "bills"
	listingNotifications = "notifications"
	listingOrphans       = "orphans"
	listingEnded         = "ended"
)

func clamp(limit int) int { return min(max(limit, 1), maxPage) }

// place is where something stands in a listing: newest first, and by id where
// two are equally new.
type place struct {
	At time.Time `json:"at"`
	ID string    `json:"id"` // as in its column
}

// compare sorts by time, the oldest first.
func (p place) compare(q place) int {
	return cmp.Or(p.At.Compare(q.At), strings.Compare(p.ID, q.ID))
}

// passed returns the place that a cursor stands for; nil for the first page's.
func passed[T any](listing, text string) (*T, error) {
	if text == "" {
		return nil, nil
	}
	data, err := cursor.Decode(listing, text)
	if err != nil {
		return nil, err
	}
	at, err := codec.Unmarshal[T](data)
	if err != nil {
		return nil, bill.ErrCursor
	}
	return &at, nil
}

func cursorTo(listing string, at any) (string, error) {
	data, err := codec.Marshal(at)
	return cursor.Encode(listing, data), err
}

// query is a statement that is put together.
type query struct {
	args []any
}

// arg adds an argument and returns how the statement names it.
func (q *query) arg(v any) string {
	q.args = append(q.args, v)
	return fmt.Sprint("$", len(q.args))
}

// everything is the condition that selects all.
const everything = "true"

// where joins conditions.
func where(conditions []string) string {
	if len(conditions) == 0 {
		return everything
	}
	return strings.Join(conditions, " AND ")
}

// scan is one call for a page of a listing: it goes along entries of indexes,
// newest first, and keeps those that match.
type scan struct {
	query
	limit int // of what matches
	most  int // of what is gone over
}

// within are the conditions of a range of places.
func (q *query) within(at, id string, since, to time.Time, behind *place) (conditions []string) {
	if !since.IsZero() {
		conditions = append(conditions, at+" >= "+q.arg(from(since)))
	}
	if !to.IsZero() {
		conditions = append(conditions, at+" < "+q.arg(from(to)))
	}
	if behind != nil {
		time := q.arg(behind.At)
		conditions = append(conditions, fmt.Sprintf("%s <= %s AND (%s < %s OR %s > %s)", at, time, at, time, id, q.arg(behind.ID)))
	}
	return conditions
}

// statement returns one that gives the places and the records of what matches,
// as many as are wanted and one more, and the place where the scan ended for
// want of patience. source has the columns at, id, ok and record.
func (s *scan) statement(source string) string {
	most := s.arg(s.most)
	return fmt.Sprintf(`SELECT at, id, ok, CASE WHEN ok THEN record END, gone = %[2]s FROM (
			SELECT at, id, ok, record, count(*) FILTER (WHERE ok) OVER w AS matched, row_number() OVER w AS gone
			FROM (%[1]s ORDER BY at DESC, id LIMIT %[2]s) AS scanned
			WINDOW w AS (ORDER BY at DESC, id ROWS UNBOUNDED PRECEDING)
		) AS counted WHERE ok AND matched <= %[3]s OR gone = %[2]s ORDER BY at DESC, id`, source, most, s.arg(s.limit+1))
}

// entry is a row of such a statement.
type entry struct {
	place
	ok     bool
	record []byte
	end    bool // the scan went no further
}

// scan is planned anew each time, for the very values that are looked for.
func (s *store) scan(ctx context.Context, sc *scan, source string) (entries []entry, err error) {
	statement := s.in(sc.statement(source))
	err = s.call(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, statement, append([]any{pgx.QueryExecModeCacheDescribe}, sc.args...)...)
		if err != nil {
			return err
		}
		entries, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e entry, err error) {
			err = row.Scan(&e.At, &e.ID, &e.ok, &e.record, &e.end)
			return e, err
		})
		return err
	})
	return entries, err
}

// cutOut makes the page of what a scan found. What selects refuses is left out.
func cutOut[T any](listing string, entries []entry, limit int, selects func(T) bool) (page []T, next string, err error) {
	var last *place
	for _, e := range entries {
		if e.ok {
			if len(page) == limit {
				next, err = cursorTo(listing, last)
				return page, next, err
			}
			v, err := record[T](e.record)
			if err != nil {
				return nil, "", err
			}
			if selects(v) {
				page = append(page, v)
			}
		}
		last = &e.place
	}
	return page, "", nil
}

// List goes along the indexes that hold the least of what q selects.
func (s *store) List(ctx context.Context, q bill.Query) (page []bill.Bill, next string, err error) {
	behind, err := passed[place](listingBills, q.Cursor)
	if err != nil {
		return nil, "", err
	}
	few, err := s.fewOrders(ctx, q.Order)
	if err != nil {
		return nil, "", err
	}
	limit := clamp(q.Limit)
	sc := &scan{limit: limit, most: maxScan}
	if !q.StuckAt.IsZero() {
		sc.limit = maxPage // only the bills themselves tell
	}
	entries, err := s.scan(ctx, sc, sc.bills(q, few, behind))
	if err != nil {
		return nil, "", err
	}
	page, next, err = cutOut(listingBills, entries, limit, q.Selects)
	if err == nil && next == "" && sc.endedEarly(entries) {
		next, err = cursorTo(listingBills, entries[len(entries)-1].place)
	}
	return page, next, err
}

// endedEarly reports whether there may be more behind the last entry.
func (s *scan) endedEarly(entries []entry) bool {
	matched := 0
	for _, e := range entries {
		if e.end {
			return true
		}
		if e.ok {
			matched++
		}
	}
	return matched > s.limit
}

// bills is the source of a listing of bills.
func (s *scan) bills(q bill.Query, few bool, behind *place) string {
	if few {
		begin, end := s.orderRange("order_code", q.Order)
		return fmt.Sprintf(`SELECT created_at AS at, id, %s AS ok, record FROM (SELECT * FROM qlink.bills WHERE %s AND %s LIMIT %d) AS b WHERE %s`,
			s.matches(q), begin, end, maxScan, where(append(s.within("created_at", "id", q.From, q.To, behind), unlisted(q)...)))
	}
	if q.Untold {
		return fmt.Sprintf(`SELECT told.at, told.bill AS id, b.id IS NOT NULL AND %s AS ok, b.record FROM (
			SELECT DISTINCT bill_created_at AS at, bill FROM qlink.notifications WHERE state IN ('pending', 'dead') AND %s
			ORDER BY at DESC, bill LIMIT %d) AS told LEFT JOIN LATERAL (SELECT * FROM qlink.bills WHERE id = told.bill LIMIT 1) AS b ON true`,
			s.matches(q), where(s.within("bill_created_at", "bill", q.From, q.To, behind)), s.most)
	}
	branches, rest := branchesOf(q)
	ok := s.matches(rest)
	if ok == everything && q.StuckAt.IsZero() {
		s.most = s.limit + 1
	}
	within := where(s.within("created_at", "id", q.From, q.To, behind))
	for i, branch := range branches {
		branches[i] = fmt.Sprintf(`(SELECT created_at AS at, id, %s AS ok, record FROM qlink.bills b WHERE %s AND %s ORDER BY created_at DESC, id LIMIT %d)`,
			ok, branch, within, s.most)
	}
	return `SELECT * FROM (` + strings.Join(branches, " UNION ALL ") + `) AS branches`
}

// branchesOf returns conditions, each with an index, that together select all
// that q selects, and no bill twice; and what of q they leave to be looked at.
func branchesOf(q bill.Query) (branches []string, rest bill.Query) {
	rest = q
	switch {
	case q.Refund:
		rest.Refund = false
		return []string{"refund"}, rest
	case q.Late:
		rest.Late = false
		return []string{"late"}, rest
	case !q.StuckAt.IsZero():
		return []string{"open", "held AND NOT open"}, rest
	case q.Status != "":
		rest.Status = ""
		return []string{statusIs(q.Status)}, rest
	}
	for _, status := range bill.Statuses() {
		branches = append(branches, statusIs(status))
	}
	return branches, rest
}

// statusIs is written out, so that the plan is made for this very status; one
// that nobody has defined selects nothing.
func statusIs(s bill.Status) string {
	if !slices.Contains(bill.Statuses(), s) {
		return "false"
	}
	return fmt.Sprintf("status = '%s'", s)
}

// unlisted are the conditions that the branches of a listing would have seen to.
func unlisted(q bill.Query) (conditions []string) {
	if !q.StuckAt.IsZero() {
		conditions = append(conditions, "(open OR held)")
	}
	if q.Untold {
		conditions = append(conditions, "EXISTS (SELECT FROM qlink.notifications n WHERE n.bill = b.id AND n.state IN ('pending', 'dead'))")
	}
	return conditions
}

// matches is what a bill's columns tell of whether q selects it.
func (s *scan) matches(q bill.Query) string {
	var conditions []string
	for _, c := range []struct {
		is        bool
		condition func() string
	}{
		{q.Status != "", func() string { return "b.status = " + s.arg(string(q.Status)) }},
		{q.Account != "", func() string { return "b.account = " + s.arg(name(q.Account)) }},
		{q.Shop != "", func() string { return "b.shop = " + s.arg(name(q.Shop)) }},
		{q.Amount != "", func() string { return "b.amount = " + s.arg(name(q.Amount.Canonical())) }},
		{q.Late, func() string { return "b.late" }},
		{q.Refund, func() string { return "b.refund" }},
	} {
		if c.is {
			conditions = append(conditions, c.condition())
		}
	}
	if q.Order != "" {
		begin, end := s.orderRange("b.order_code", q.Order)
		conditions = append(conditions, begin, end)
	}
	return where(conditions)
}

// orderRange are the conditions of order codes with a beginning. Those of a very
// long one say only what may begin with it.
func (q *query) orderRange(column, beginning string) (begin, end string) {
	beginning = cut(text(beginning))
	begin, end = column+" >= "+q.arg(beginning), "true"
	if behind, ok := after(beginning); ok {
		end = column + " < " + q.arg(behind)
	}
	return begin, end
}

// fewOrders reports whether so few order codes have a beginning that all of them
// are looked at for a page: for the others, the other indexes are gone along.
func (s *store) fewOrders(ctx context.Context, beginning string) (bool, error) {
	if beginning == "" {
		return false, nil
	}
	var q query
	begin, end := q.orderRange("order_code", beginning)
	found, err := column[int](ctx, s, fmt.Sprintf(`SELECT count(*) FROM (SELECT FROM qlink.bills WHERE %s AND %s LIMIT %d) AS found`, begin, end, maxScan), q.args...)
	if err != nil {
		return false, err
	}
	return found[0] < maxScan, nil
}

// ListNotifications goes along the notifications in the wanted state, or those
// in any.
func (s *store) ListNotifications(ctx context.Context, q bill.NotificationQuery) (page []bill.Notification, next string, err error) {
	behind, err := passed[place](listingNotifications, q.Cursor)
	if err != nil {
		return nil, "", err
	}
	states := bill.NotificationStates()
	if q.State != "" {
		states = slices.DeleteFunc(states, func(state bill.NotificationState) bool { return state != q.State })
	}
	limit := clamp(q.Limit)
	sc := &scan{limit: limit, most: limit + 1}
	var branches []string
	within := where(sc.within("created_at", "id", q.Since, time.Time{}, behind))
	for _, state := range states {
		branches = append(branches, fmt.Sprintf(`(SELECT created_at AS at, id, true AS ok, record FROM qlink.notifications
			WHERE state = '%s' AND %s ORDER BY created_at DESC, id LIMIT %d)`, state, within, limit+1))
	}
	if len(branches) == 0 {
		return nil, "", s.usable(ctx)
	}
	entries, err := s.scan(ctx, sc, `SELECT * FROM (`+strings.Join(branches, " UNION ALL ")+`) AS branches`)
	if err != nil {
		return nil, "", err
	}
	return cutOut(listingNotifications, entries, limit, func(bill.Notification) bool { return true })
}

// Find reads the bills of each kind of name from its index.
func (s *store) Find(ctx context.Context, wanted string, limit int) ([]bill.Bill, error) {
	if wanted == "" || limit <= 0 {
		return nil, s.usable(ctx)
	}
	found, err := all[bill.Bill](ctx, s, `SELECT record FROM (
			(SELECT id, created_at, record FROM qlink.bills WHERE id = $1)
			UNION (SELECT id, created_at, record FROM qlink.bills WHERE order_code = $2 ORDER BY created_at DESC, id LIMIT $3)
			UNION (SELECT id, created_at, record FROM qlink.bills WHERE bill_code = $2 ORDER BY created_at DESC, id LIMIT $3)
			UNION (SELECT id, created_at, record FROM qlink.bills WHERE request_id = $2 ORDER BY created_at DESC, id LIMIT $3)
		) AS found ORDER BY created_at DESC, id LIMIT $3`, text(wanted), name(wanted), limit)
	return found, err
}

// orphanPlace is where an orphan stands in its listing.
type orphanPlace struct {
	Ledger string `json:"ledger"`
	ID     string `json:"id"`
}

func (s *store) Orphans(ctx context.Context, cursor string, limit int) (page []bill.Orphan, next string, err error) {
	behind, err := passed[orphanPlace](listingOrphans, cursor)
	if err != nil {
		return nil, "", err
	}
	if behind == nil {
		behind = &orphanPlace{} // every ledger and id is behind it, but for the empty ones
	}
	limit = clamp(limit)
	page, err = all[bill.Orphan](ctx, s, `SELECT record FROM qlink.orphans WHERE (ledger, id) > ($1, $2) OR $3 AND (ledger, id) = ($1, $2)
		ORDER BY ledger, id LIMIT $4`, behind.Ledger, behind.ID, cursor == "", limit+1)
	if err != nil || len(page) <= limit {
		return page, "", err
	}
	last := page[limit-1]
	next, err = cursorTo(listingOrphans, orphanPlace{text(last.Ledger), text(last.ID)})
	return page[:limit], next, err
}
