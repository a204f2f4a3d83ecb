package caddyqlink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/cli"
	"github.com/caddy-qlink/caddy-qlink/store/migrate"
)

// mover carries bills between the stores that configurations name. It starts
// nothing of them.
type mover struct{}

// doing are the stages in words.
var doing = map[migrate.Stage]string{
	migrate.Resting:       "Waiting until nobody writes",
	migrate.Copying:       "Carrying over",
	migrate.VerifyingFrom: "Verifying the old store",
	migrate.VerifyingTo:   "Verifying the new store",
}

func (mover) Move(ctx context.Context, m cli.Migration, told func(string, int64, int64)) (moved cli.Moved, err error) {
	p, err := openPair(ctx, m)
	if err != nil {
		return cli.Moved{}, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	move := p.move()
	if m.Dry {
		counts, err := move.Plan(ctx)
		moved := p.moved()
		for _, n := range counts.Bills {
			moved.Bills += n
		}
		for _, n := range counts.Notifications {
			moved.Notifications += n
		}
		return moved, err
	}
	move.Progress = func(s migrate.Stage, done, total uint64) { told(doing[s], int64(done), int64(total)) } //nolint:gosec // of records
	content, err := move.Run(ctx)
	if errors.Is(err, migrate.ErrDiffers) {
		err = cli.Fault(err)
	}
	moved = p.moved()
	moved.Bills, moved.Orders, moved.Notifications = content.Bills, content.Orders, content.Notifications
	moved.Answers, moved.Orphans, moved.Checksum = content.Answers, content.Orphans, content.Checksum.String()
	return moved, err
}

func (mover) GiveUp(ctx context.Context, m cli.Migration) (moved cli.Moved, err error) {
	p, err := openPair(ctx, cli.Migration{From: m.From, To: m.To, Adapter: m.Adapter, Dry: true}) // that is not there is not made
	if err == nil && p.to.Movable == nil {
		err = errors.Join(fmt.Errorf("%s names a store that is not there", m.To), p.close())
	}
	if err != nil {
		return cli.Moved{}, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if m.Dry {
		return p.moved(), p.move().MayGiveUp(ctx)
	}
	return p.moved(), p.move().GiveUp(ctx)
}

func (mover) TakeBack(ctx context.Context, m cli.Migration) (moved cli.Moved, err error) {
	from, err := loadNamed(ctx, m.From, m.Adapter)
	if err != nil {
		return cli.Moved{}, err
	}
	defer func() { err = errors.Join(err, from.close()) }()
	if err := from.open(ctx, false); err != nil {
		return cli.Moved{}, err
	}
	moved.From = from.Place()
	if m.Dry {
		return moved, migrate.MayTakeBack(ctx, from.Movable, m.Force)
	}
	err = migrate.TakeBack(ctx, from.Movable, m.Force)
	moved.CheckoutsClosed = !bill.CheckoutsClosed(from.Movable).IsZero()
	return moved, err
}

// pair are both stores of a migration.
type pair struct {
	from, to named
}

// openPair opens both, and creates the second one, unless nothing is to be
// done: then it may be missing.
func openPair(ctx context.Context, m cli.Migration) (p pair, err error) {
	if p.from, err = loadNamed(ctx, m.From, m.Adapter); err != nil {
		return pair{}, err
	}
	if p.to, err = loadNamed(ctx, m.To, m.Adapter); err == nil {
		err = p.open(ctx, !m.Dry)
	}
	if err != nil {
		return pair{}, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pair) open(ctx context.Context, create bool) error {
	if p.from.key == p.to.key {
		return fmt.Errorf("%s and %s name the same store", p.from.file, p.to.file)
	}
	if err := p.from.open(ctx, false); err != nil {
		return err
	}
	err := p.to.open(ctx, create)
	if !create && errors.Is(err, bill.ErrNotFound) {
		return nil
	}
	return err
}

func (p *pair) move() migrate.Move {
	return migrate.Move{From: p.from.Movable, To: p.to.Movable, Now: time.Now, NewID: uuid.NewString}
}

func (p *pair) moved() cli.Moved {
	moved := cli.Moved{From: p.from.Place(), To: "the new store of " + p.to.file}
	if p.to.Movable != nil {
		moved.To = p.to.Place()
	}
	return moved
}

func (p *pair) close() error { return errors.Join(p.to.close(), p.from.close()) }
