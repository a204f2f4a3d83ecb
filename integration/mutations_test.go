package integration

// mutations are the guards to be broken, the quick ones first: one entry each.
var mutations = []mutation{
	{
		"two enumerations", "a cancel's SUCCESS is read as that of a payment", "bill/transition.go",
		"./bill TestACancelsSuccessIsNotAPayment|TestEveryCellOfTheTableIsAsTheContractSays",
		[]edit{{"\tcase EventCancelDone:\n\t\tb.Cancel.Confirmed = true", "\tcase EventCancelDone:\n\t\treturn b.paid(e)"}},
	},
	{
		"webhook's signature", "the digest is not compared", "qlink/sign.go",
		"./qlink TestAForgedSignatureIsRefused",
		[]edit{{"if subtle.ConstantTimeCompare(sum[:], claimed[:]) == 1 {", "if subtle.ConstantTimeCompare(sum[:], claimed[:]) >= 0 {"}},
	},
	{
		"monotonic", "a failure overwrites a payment", "bill/transition.go",
		"./bill TestNoSequenceOfEventsUndoesAPayment",
		[]edit{{"\tcase b.Status == Success:\n\t\treturn b, FollowQuery, nil\n\tcase b.Status.Final():", "\tcase b.Status.Final() && b.Status != Success:"}},
	},
	{
		"one-order lock", "a choice is made beside a reported payment", "payment/work.go",
		"./payment TestNothingIsChosenBesideAReportedPayment",
		[]edit{{"ok && step.Line.Kind == bill.EventChosen {", "ok && step.Line.Kind == bill.EventCreated {"}},
	},
	{
		"codes compared with bills", "a code's checksum is not looked at", "bill/emvco.go",
		"./bill TestAChangedCharacterIsNoticed",
		[]edit{{"if !strings.EqualFold(checksum, sum) {", "if !strings.EqualFold(checksum[:0], sum[:0]) {"}},
	},
	{
		"links of a page", "a live one leads to plain http", "page/action.go",
		"./page TestEachKindOfActionHasItsForm",
		[]edit{{"return !live && (", "return ("}},
	},

	// The webhook's signature (story 20, story 21, story 23).
	{
		"webhook's signature", "not looked at", "handlers/webhook.go",
		"./handlers TestAForgedNotificationIsRefusedAndTouchesNothing",
		[]edit{{"accounts := verified(candidates, body, sign)", "accounts := candidates\n\t_, _ = verified(candidates, body, sign), sign"}},
	},
	{
		"webhook's signature", "headers that come twice are taken", "handlers/webhook.go",
		"./handlers TestAForgedNotificationIsRefusedAndTouchesNothing",
		[]edit{{"if len(signs) != 1 || len(keys) != 1 ||", "if len(signs) == 0 || len(keys) == 0 ||"}},
	},
	{
		"webhook's signature", "the appKey header is not compared", "handlers/webhook.go",
		"./handlers TestAForgedNotificationIsRefusedAndTouchesNothing|TestOnlyAccountsThatVerifyAreCandidates",
		[]edit{{"if account.AppKey == keys[0] {", "if keys[0] != \"\" {"}},
	},
	{
		"webhook's signature", "made over JSON written again", "handlers/webhook.go",
		"./handlers TestAGenuineNotificationIsSettledBeforeItIsAcknowledged|TestASignatureCoversTheBytesThatCame",
		[]edit{
			{"import (\n", "import (\n\t\"github.com/go-json-experiment/json/jsontext\"\n"},
			{"accounts := verified(candidates, body, sign)", "again := jsontext.Value(append([]byte(nil), body...))\n\t_ = again.Compact()\n\taccounts := verified(candidates, again, sign)"},
		},
	},
	{
		"webhook's signature", "an empty secret verifies", "qlink/sign.go",
		"./qlink TestAForgedSignatureIsRefused",
		[]edit{{"\t\t\tif secret == \"\" {\n\t\t\t\tcontinue\n\t\t\t}\n", ""}},
	},
	{
		"webhook's signature", "the first half is enough", "qlink/sign.go",
		"./qlink TestAForgedSignatureIsRefused",
		[]edit{{"subtle.ConstantTimeCompare(sum[:], claimed[:])", "subtle.ConstantTimeCompare(sum[:10], claimed[:10])"}},
	},
	{
		"webhook's signature", "a request of our own is a notification", "qlink/notification.go",
		"./qlink TestOurOwnRequestsReflectedAreNoNotifications",
		[]edit{{"\tcase !blank(f.TradeUUIDList) || !blank(f.BillCodeList):\n\t\treturn \"it asks for payment statuses\"\n", ""}, {"\tcase f.Status == \"\":\n\t\treturn \"status is missing\"\n", ""}},
	},

	// The signature of a shop's request.
	{
		"shop's signature", "not compared", "handlers/sign.go",
		"./handlers TestAnUnsignedOrForgedRequestIsRefusedAndChangesNothing",
		[]edit{{"if hmac.Equal(authenticator(candidate, seconds, r.Method, uri, body), claimed) && candidate != \"\" {", "if len(authenticator(candidate, seconds, r.Method, uri, body)) == len(claimed) {"}},
	},
	{
		"shop's signature", "never too old", "handlers/sign.go",
		"./handlers TestAGenuineSignatureIsStaleBeyondItsAgeEitherWay",
		[]edit{{"age > h.MaxAge || age < -h.MaxAge", "age < -h.MaxAge"}},
	},
	{
		"shop's signature", "leaves the method out", "handlers/sign.go",
		"./handlers TestAnUnsignedOrForgedRequestIsRefusedAndChangesNothing|TestSigningIsAsTheContractWritesIt",
		[]edit{{"mac.Write([]byte(seconds + \".\" + method + \".\" + uri + \".\"))", "mac.Write([]byte(seconds + \".\" + uri + \".\"))"}},
	},
	{
		"shop's signature", "an older hand-over is not stale", "payment/create.go",
		"./payment TestAnOrderSignedBeforeTheCurrentHandOverIsStale",
		[]edit{{"if h.Signed && h.At.Before(current.SignedAt) {", "if h.Signed && h.At.IsZero() {"}},
	},

	// A report is about the bill that it names (protocol.md 4).
	{
		"order match", "billCode is not compared", "bill/transition.go",
		"./bill TestAReportThatNamesAnotherBillChangesNothing",
		[]edit{{"\t\t{\"billCode\", b.BillCode, e.Report.BillCode},\n", ""}},
	},
	{
		"order match", "orderCode is not compared", "bill/transition.go",
		"./bill TestAReportThatNamesAnotherBillChangesNothing",
		[]edit{{"\t\t{\"orderCode\", b.OrderCode, e.Report.OrderCode},\n", ""}},
	},
	{
		"order match", "a contradiction is acknowledged", "payment/settle.go",
		"./payment TestANotificationIsOnlyBelievedOfItsOwnAccountAndBill",
		[]edit{{"case step.Line.Kind == bill.EventContradiction:\n\t\treturn ErrContradiction", "case step.Line.Kind == bill.EventContradiction:\n\t\treturn nil"}},
	},
	{
		"order match", "a row of another bill is taken", "qlink/client.go",
		"./qlink TestNoBillGetsTheStatusOfAnother",
		[]edit{{"return same(p.BillCode, billCode) && (p.TradeUUID == \"\" || tradeUUID == \"\")", "return true"}},
	},
	{
		"order match", "another account's word counts", "payment/settle.go",
		"./payment TestANotificationIsOnlyBelievedOfItsOwnAccountAndBill",
		[]edit{{"if a.Ledger == b.Ledger && (!configured || a.Name == b.Account) {", "if a.Ledger == b.Ledger || !configured || b.ID != \"\" {"}},
	},

	// A payment is for ever, and always counts (story 9, story 10).
	{
		"monotonic", "a late payment is ignored", "bill/transition.go",
		"./bill TestNoSequenceOfEventsUndoesAPayment",
		[]edit{{"\tcase b.Status == Success:\n\t\treturn b, FollowNone, nil\n\tcase !e.confirms(rules):", "\tcase b.Status.Final():\n\t\treturn b, FollowNone, nil\n\tcase !e.confirms(rules):"}},
	},
	{
		"monotonic", "a late payment is not marked", "bill/transition.go",
		"./bill TestEveryCellOfTheTableIsAsTheContractSays",
		[]edit{{"\tb.LatePayment = b.Status.Final()\n", ""}},
	},
	{
		"monotonic", "a second payment is not marked for refund", "payment/work.go",
		"./payment TestALatePaymentPaysTheOrderAndEndsTheOtherAttempt",
		[]edit{{"\t\t\tstep.Bill.RefundDue = true\n", ""}},
	},
	{
		"monotonic", "a payment is refused beside another one made meanwhile", "payment/work.go",
		"./payment TestTwoAttemptsPaidAtOnceAreBothTakenAndOneIsToBeGivenBack",
		[]edit{{"return nil, bill.ErrConflict // paid since", "return nil, err // paid since"}},
	},
	{
		"monotonic", "the other attempt stays open after a payment", "payment/work.go",
		"./payment TestALatePaymentPaysTheOrderAndEndsTheOtherAttempt",
		[]edit{{"\t\tcase a.Status.Final():\n\t\t\tcontinue\n\t\t}", "\t\tdefault:\n\t\t\tcontinue\n\t\t}"}},
	},
	{
		"monotonic", "an operator ends a paid bill by force", "bill/transition.go",
		"./bill TestEveryCellOfTheTableIsAsTheContractSays|TestNoSequenceOfEventsUndoesAPayment",
		[]edit{{"\tif b.Status == Success {\n\t\treturn Bill{}, FollowNone, ErrForceRefused\n\t}\n\tb.Reported = Reported{}\n\tif !b.Status.Final() {", "\tb.Reported = Reported{}\n\tif !b.Status.EndedUnpaid() {"}},
	},
	{
		"monotonic", "a paid order is sold again", "payment/create.go",
		"./payment TestAPaidOrderAtAnotherAmountIsRefused",
		[]edit{{"if paid, ok := record.Paid(); ok {\n\t\tc, err = w.alreadyPaid(paid, o)", "if paid, ok := record.Paid(); ok && o.OrderCode == \"\" {\n\t\tc, err = w.alreadyPaid(paid, o)"}},
	},
	{
		"monotonic", "a repeated notification is an event again", "bill/transition.go",
		"./bill TestReplayedReportsCannotFillTheHistory",
		[]edit{{"\tb.Silent++\n\treturn b.Silent <= MaxSilent", "\tb.Silent++\n\treturn true"}},
	},

	// What a cancel says and what a payment says are two lists (story 5).
	{
		"two enumerations", "a cancel's FAIL ends the payment", "bill/transition.go",
		"./bill TestARefusedCancelDropsABuyersWishAndKeepsAnExpiry|TestEveryCellOfTheTableIsAsTheContractSays",
		[]edit{{"\tcase EventCancelRefused:\n\t\tb.Cancel.Refusals++", "\tcase EventCancelRefused:\n\t\tb.Status = Fail\n\t\tb.Cancel.Refusals++"}},
	},
	{
		"two enumerations", "a cancel's word is parsed as a payment's", "qlink/status.go",
		"./qlink TestACancelStatusIsReadByItsOwnList",
		[]edit{{"\tcase \"SUCCESS\", \"CANCEL\", \"CANCELED\", \"CANCELLED\":\n\t\treturn CancelDone", "\tcase \"CANCEL\", \"CANCELED\", \"CANCELLED\":\n\t\treturn CancelDone"}},
	},
	{
		"two enumerations", "word of a cancel is a notification of a payment", "qlink/notification.go",
		"./qlink TestWhatIsNoNotificationIsRefused|TestOurOwnRequestsReflectedAreNoNotifications",
		[]edit{{"\tcase f.CancelTime != \"\" && statusCode(f.Status) != StatusCanceled:\n\t\treturn \"it tells of a request to cancel\"\n", ""}},
	},
	{
		"two enumerations", "a cancel stands without a query", "bill/transition.go",
		"./bill TestACancelsSuccessIsNotAPayment|TestEveryCellOfTheTableIsAsTheContractSays",
		[]edit{{"\tcase EventCancelDone:\n\t\tb.Cancel.Confirmed = true", "\tcase EventCancelDone:\n\t\treturn b.ended(), FollowNone, nil"}},
	},
	{
		"two enumerations", "an unknown word is a payment", "payment/gateway.go",
		"./payment TestAStatusNobodyHasDefinedIsNoProofThatACancelStands|TestAPaidBillStaysPaidWhateverIsReportedLater",
		[]edit{{"\tcase qlink.StatusUnknown:\n\t}\n\treturn bill.EventReportedOther", "\tcase qlink.StatusUnknown:\n\t}\n\treturn bill.EventReportedPaid"}},
	},

	// "Not known" is believed twice, late, and of one bill alone.
	{
		"certainly not known", "believed the first time", "bill/transition.go",
		"./bill TestNotKnownIsBelievedTheSecondTimeAndNotBeforeUnknownAfter",
		[]edit{{"twice := !first && !e.At.Before(", "twice := !e.At.Before("}},
	},
	{
		"certainly not known", "unknown_after is not waited for", "bill/transition.go",
		"./bill TestNotKnownIsBelievedTheSecondTimeAndNotBeforeUnknownAfter",
		[]edit{{"twice := !first && !e.At.Before(ended.Add(rules.UnknownAfter))", "twice := !first && !e.At.Before(ended)"}},
	},
	{
		"certainly not known", "believed while /apply is under way", "bill/transition.go",
		"./bill TestAnApplyUnderWayLetsNothingBeConcludedFromAQuery",
		[]edit{{"\tif b.Status != Created || !over {", "\tif b.Status != Created || !over && e.At.IsZero() {"}},
	},
	{
		"certainly not known", "missing from a batch is proof", "payment/reconcile.go",
		"./payment TestMissingFromABatchProvesNothing",
		[]edit{{"\t\tif !found || e.Kind == bill.EventNotKnown {\n\t\t\talone = append(alone, b)\n\t\t\tcontinue\n\t\t}", "\t\tif !found {\n\t\t\te.Kind = bill.EventNotKnown\n\t\t}"}},
	},
	{
		"certainly not known", "an answer about others is an empty one", "payment/gateway.go",
		"./payment TestAnAnswerAboutAnotherBillIsNoProofThatOursIsUnknown",
		[]edit{{"\tcase !answer.Empty:\n\t\treturn e, false\n", ""}},
	},
	{
		"certainly not known", "a failed query is an empty answer", "payment/gateway.go",
		"./payment TestARefusalIsBelievedOnceAQueryDoesNotShowTheBill|TestALostAnswerLeavesTheBillUnknownAndNeverMakesASecondPayment|TestAFailedQueryProvesNothing",
		[]edit{{"return e, false // an error shows nothing, not even what a refused /apply did", "answer.Empty = true"}},
	},
	{
		"certainly not known", "a time-out of /apply is a refusal", "payment/gateway.go",
		"./payment TestALostAnswerLeavesTheBillUnknownAndNeverMakesASecondPayment",
		[]edit{{"\te.Kind = bill.EventApplyUnclear\n\te.Report, e.Complaint = reportOf(err)", "\te.Kind = bill.EventApplyRefused\n\te.Report, e.Complaint = reportOf(err)"}},
	},
	{
		"certainly not known", "a refused second /apply fails the bill", "bill/transition.go",
		"./bill TestARefusedReapplyNeverFailsABill",
		[]edit{{"\tcase b.Status == Created && b.Apply.Tries == 1:\n\t\tb.Apply.Refused = true", "\tcase b.Status == Created:\n\t\tb.Status = Fail"}},
	},
	{
		"certainly not known", "an unreached gateway is one that refused", "qlink/call.go",
		"./qlink TestWithoutAConnectionNothingWasSent|TestAFailureSaysWhatIsCertain",
		[]edit{{"return nil, x.fail(KindNotSent, err)", "return nil, x.fail(KindRefused, err)"}},
	},
	{
		"certainly not known", "a cut answer was never sent", "qlink/call.go",
		"./qlink TestACutAnswerIsUnclear|TestASlowAnswerIsUnclear|TestAFailureSaysWhatIsCertain",
		[]edit{{"\tif t.got.Load() {\n\t\treturn true\n\t}\n", ""}},
	},
	{
		"certainly not known", "applied for again after its time", "bill/transition.go",
		"./bill TestABillIsNeverAppliedForAgainAfterItsTimeOrACancel",
		[]edit{{"|| b.Cancel.Requested || b.ExpiryPassed(e.At) {\n\t\treturn Bill{}, FollowNone, ErrApplyForbidden", "|| b.Cancel.Requested {\n\t\treturn Bill{}, FollowNone, ErrApplyForbidden"}},
	},
	{
		"certainly not known", "applied for again in spite of a cancel", "bill/transition.go",
		"./bill TestABillIsNeverAppliedForAgainAfterItsTimeOrACancel",
		[]edit{{"|| b.Cancel.Requested || b.ExpiryPassed(e.At) {\n\t\treturn Bill{}, FollowNone, ErrApplyForbidden", "|| b.ExpiryPassed(e.At) {\n\t\treturn Bill{}, FollowNone, ErrApplyForbidden"}},
	},
	{
		"certainly not known", "a refused payment is asked for anew at once", "payment/create.go",
		"./payment TestNoNewAttemptStartsWhileTheEarlierOneHasNotCertainlyEnded",
		[]edit{{"\t\treturn Created{}, true, nil\n\t}\n\treturn Created{}, false, &Refusal{Code: CodePreviousOpen, Bill: &b}", "\t\treturn Created{}, true, nil\n\t}\n\tb.Status = bill.Canceled\n\trecord, _ := w.store.Order(w.ctx, b.OrderKey())\n\trecord, _ = record.With(b)\n\trecord.Revision++\n\treturn Created{}, true, w.store.Commit(w.ctx, bill.Change{Order: &record})"}},
	},

	// Durable first, the gateway second.
	{
		"durable before the call", "/apply before the commit", "payment/create.go",
		"./payment TestSixtyFourPostsOfOneOrderAreOnePayment|TestABillIsStoredBeforeTheGatewayHearsOfIt",
		[]edit{
			{"\tif err := w.engine.commit(w.ctx, w.store, change); err != nil {\n\t\treturn Created{}, fmt.Errorf(\"store bill", "\tanswer, failed := w.account.Gateway.Apply(w.ctx, applyRequest(b, o.Details))\n\tif err := w.engine.commit(w.ctx, w.store, change); err != nil {\n\t\treturn Created{}, fmt.Errorf(\"store bill"},
			{"\treturn outcomeOf(w.apply(b, o.Details)), nil", "\te := bill.Event{At: w.now(), Source: bill.ByApply, Kind: bill.EventApplyAccepted, Report: bill.Report{BillCode: answer.BillCode, ActionValue: answer.ActionValue}}\n\tif failed != nil {\n\t\te = w.failedApply(e, failed)\n\t}\n\tstep, err := w.record(b.ID, e)\n\tif err != nil {\n\t\treturn Created{}, err\n\t}\n\treturn outcomeOf(w.pursue(step)), nil"},
		},
	},
	{
		"durable before the call", "/cancel before the wish is stored", "payment/cancel.go",
		"./payment TestTheWishToCancelIsStoredBeforeTheGatewayHearsOfIt",
		[]edit{{"func (w *work) cancel(b bill.Bill, reason bill.CancelReason) (bill.Bill, error) {\n", "func (w *work) cancel(b bill.Bill, reason bill.CancelReason) (bill.Bill, error) {\n\t_, _ = w.account.Gateway.Cancel(w.ctx, b.ID, b.BillCode)\n"}},
	},
	{
		"durable before the call", "a webhook is acknowledged before its commit", "handlers/webhook.go",
		"./handlers TestAnUnsettledNotificationIsNeverAcknowledged",
		[]edit{{"\t\th.answerUnsettled(w, n, err)\n\t\treturn\n", "\t\th.Logger.Error(\"notification not stored\", zap.Error(err))\n"}},
	},
	{
		"durable before the call", "a commit that failed is a success", "payment/work.go",
		"./payment TestAFailedCommitIsNoSuccess",
		[]edit{{"\t\treturn bill.Step{Bill: b}, fmt.Errorf(\"store %s of bill %s: %w\", e.Kind, b.ID, err)\n", "\t\tif errors.Is(err, bill.ErrConflict) {\n\t\t\treturn step, err\n\t\t}\n\t\treturn step, nil\n"}},
	},

	// The disk.
	{
		"sync", "SyncWrites off", "store/badger/options.go",
		"./store/badger TestEveryCommitIsSynced",
		[]edit{{"WithSyncWrites(true).", "WithSyncWrites(false)."}},
	},
	{
		"sync", "answered before the commit", "store/badger/committer.go",
		"./store/badger TestAFailedCommitFailsItsBatchAndBreaksTheStoreUntilItIsReopened",
		[]edit{{"\tb.outcomes = append(b.outcomes, outcome{op, nil})\n\tif set.committed", "\top.outcome <- nil\n\tif set.committed"}},
	},
	{
		"sync", "a commit that failed is taken for a good one", "store/badger/committer.go",
		"./store/badger TestAFailedCommitFailsItsBatchAndBreaksTheStoreUntilItIsReopened",
		[]edit{{"\t\tif o.err == nil {\n\t\t\to.err = c.broken()\n\t\t}\n", ""}},
	},
	{
		"record's checksum", "not compared", "store/badger/record.go",
		"./store/badger TestEveryFlippedBitIsNoticed",
		[]edit{{"!= checksum(key, record[:body]) {", "!= checksum(key, record[:body]) && body < 1 {"}},
	},

	// The outbox stands in the transaction of the change (story 15).
	{
		"outbox in the transaction", "stored after the change", "payment/work.go",
		"./payment TestAChangeAndWhatTheShopIsToldOfItAreOneCommit",
		[]edit{{"\t\terr = w.engine.commit(w.ctx, w.store, change)\n", "\t\ttold := change.Notifications\n\t\tchange = bill.Change{Order: change.Order, Bills: change.Bills}\n\t\terr = w.engine.commit(w.ctx, w.store, change)\n\t\tif err == nil && len(told) > 0 {\n\t\t\terr = w.engine.commit(w.ctx, w.store, bill.Change{Notifications: told})\n\t\t}\n"}},
	},
	{
		"outbox in the transaction", "forgotten", "payment/work.go",
		"./payment TestAShopIsToldOfEveryEndSignedAndWithTheBillAsItStood",
		[]edit{{"\tif kind == \"\" {\n", "\tif kind != \"none\" {\n"}},
	},
	{
		"outbox in the transaction", "an older one is not superseded", "payment/notify.go",
		"./payment TestANewerNotificationSupersedesAnOlderOneOfTheOrder",
		[]edit{{"older.State, older.Due = bill.Superseded, time.Time{}", "older.State = bill.Pending"}},
	},
	{
		"outbox in the transaction", "Badger drops it", "store/badger/change.go",
		"./store/badger TestTheStoreKeepsItsPromises",
		[]edit{{"\t\tsealed.notifications = append(sealed.notifications, n)", "\t\t_ = n"}},
	},

	// One order, one attempt at a time (story 2, story 4).
	{
		"one-order lock", "Badger takes any revision of an order", "store/badger/change.go",
		"./store/badger TestTheStoreKeepsItsPromises",
		[]edit{{"if c.order.revision != held.Revision+1 {", "if c.order.revision == 0 {"}},
	},
	{
		"one-order lock", "memory takes any revision of an order", "store/memory/memory.go",
		"./store/memory TestTheStoreKeepsItsPromises",
		[]edit{{"if c.Order != nil && c.Order.Revision != s.orders[c.Order.Key].Revision+1 {", "if c.Order != nil && c.Order.Revision == 0 {"}},
	},
	{
		"one-order lock", "Badger takes any revision of a bill", "store/badger/change.go",
		"./store/badger TestTheStoreKeepsItsPromises",
		[]edit{{"if b.bill.Revision != held.Revision+1 {", "if b.bill.Revision == 0 {"}},
	},
	{
		"one-order lock", "memory takes any revision of a bill", "store/memory/memory.go",
		"./store/memory TestTheStoreKeepsItsPromises",
		[]edit{{"if seen[id] || change.Bill.Revision != s.bills[id].Revision+1 {", "if seen[id] {"}},
	},
	{
		"one-order lock", "the engine overwrites a newer order", "payment/create.go",
		"./payment TestTwoWhoReadTheSameOrderMakeOnePayment",
		[]edit{{"\tif err := w.engine.commit(w.ctx, w.store, change); err != nil {\n\t\treturn Created{}, fmt.Errorf(\"store bill", "\terr := w.engine.commit(w.ctx, w.store, change)\n\tfor errors.Is(err, bill.ErrConflict) {\n\t\tnewest, _ := w.store.Order(w.ctx, record.Key)\n\t\trecord.Revision = newest.Revision + 1\n\t\terr = w.engine.commit(w.ctx, w.store, change)\n\t}\n\tif err != nil {\n\t\treturn Created{}, fmt.Errorf(\"store bill"}},
	},
	{
		"one-order lock", "the answer to an Idempotency-Key is forgotten", "payment/create.go",
		"./payment TestAnIdempotencyKeyAnswersWithTheFirstRequestsBill",
		[]edit{{"\tcase seen.Request != h.Idempotency.Body:\n\t\treturn Created{}, false, &Refusal{Code: CodeKeyReused}\n", ""}},
	},
	{
		"one-order lock", "a second /apply beside one under way", "bill/transition.go",
		"./bill TestABillIsNeverAppliedForBesideACallUnderWay",
		[]edit{{"if !mayApply || b.ApplyUnderWay(e.At, rules) ||", "if !mayApply ||"}},
	},

	// What is paid in test is not paid in live (story 36 for the shop).
	{
		"ledger in the key", "left out of Badger's", "store/badger/keys.go",
		"./store/badger TestNoTwoOrdersShareAKey|TestTheStoreKeepsItsPromises",
		[]edit{{"\tkey = appendText(key, k.Ledger)\n\treturn append(appendText(key, k.Shop), k.OrderCode...)", "\treturn append(appendText(key, k.Shop), k.OrderCode...)"}},
	},
	{
		"ledger in the key", "the shop left out of Badger's", "store/badger/keys.go",
		"./store/badger TestNoTwoOrdersShareAKey|TestTheStoreKeepsItsPromises",
		[]edit{{"return append(appendText(key, k.Shop), k.OrderCode...)", "return append(key, k.OrderCode...)"}},
	},
	{
		"ledger in the key", "left out of the engine's", "payment/payment.go",
		"./payment TestAnOrderPaidInTestIsNotPaidInLive",
		[]edit{{"bill.OrderKey{Ledger: s.Account.Ledger, Shop: s.Shop, OrderCode: orderCode}", "bill.OrderKey{Shop: s.Shop, OrderCode: orderCode}"}},
	},
	{
		"ledger in the key", "the shop left out of the engine's", "payment/payment.go",
		"./payment TestTwoShopsMayUseOneOrderCodeAndSeeOnlyTheirOwn",
		[]edit{{"b.Ledger == s.Account.Ledger && b.Shop == s.Shop", "b.Ledger == s.Account.Ledger"}},
	},
	{
		"ledger in the key", "one for all app keys", "bill/ledger.go",
		"./bill TestSpellingsOfOneEndpointShareALedgerAndKeysDoNot",
		[]edit{{"[]byte(place + \"\\n\" + appKey)", "[]byte(place)"}},
	},
	{
		"ledger in the key", "one for all endpoints", "bill/ledger.go",
		"./bill TestSpellingsOfOneEndpointShareALedgerAndKeysDoNot",
		[]edit{{"[]byte(place + \"\\n\" + appKey)", "[]byte(place[:4] + \"\\n\" + appKey)"}},
	},

	// Amounts (story 27 to story 31).
	{
		"amount", "compared as text", "bill/amount.go",
		"./bill TestAmountsAreComparedAsNumbers",
		[]edit{{"return a.Canonical() == b.Canonical()", "return a == b"}},
	},
	{
		"amount", "another amount is the same order", "payment/create.go",
		"./payment TestAnotherAmountCancelsTheOpenBillFirst",
		[]edit{{"if open && current.Matches(o) && current.Account", "if open && current.OrderCode == o.OrderCode && current.Account"}},
	},
	{
		"amount", "any amount pays", "payment/create.go",
		"./payment TestAPaidOrderAtAnotherAmountIsRefused|TestAnotherAmountCancelsTheOpenBillFirst",
		[]edit{{"if !b.Amount.Equal(o.Amount) || b.Currency != o.Currency {", "if b.Amount == \"\" {"}},
	},
	{
		"amount", "decimals that the currency lacks", "bill/amount.go",
		"./bill TestAmountsAreTakenAsTheCurrencyAllows",
		[]edit{{"case len(fraction) > decimals:", "case len(fraction) > decimals+9:"}},
	},
	{
		"take-over", "an order with any status is taken", "handlers/takeover.go",
		"./handlers TestAnOrderThatCannotBePaidNeverReachesTheBuyer",
		[]edit{{"case (t.status < 200 || t.status > 299) && t.status != http.StatusPaymentRequired:", "case t.status == 0:"}},
	},

	// What a query has to confirm (confirm_success).
	{
		"confirmation", "a notification alone pays", "bill/transition.go",
		"./bill TestANotificationsPaymentIsRememberedAndAskedAfterWhereItHasToBeConfirmed|TestNoSequenceOfEventsUndoesAPayment",
		[]edit{{"case !e.confirms(rules):", "case e.Kind == EventForced:"}},
	},
	{
		"confirmation", "a new attempt starts beside a reported payment", "payment/create.go",
		"./payment TestNoNewAttemptStartsBesideAReportedPayment|TestAReportOfAnEarlierAttemptHoldsBackTheNextAndEndsNone",
		[]edit{{"if reported, ok := record.Unconfirmed(); ok {", "if reported, ok := record.Unconfirmed(); ok && reported.ID == \"\" {"}},
	},

	// What a buyer may choose, and try again.
	{
		"choice", "what is not offered is taken", "payment/choose.go",
		"./payment TestOnlyWhatIsOfferedCanBeChosen",
		[]edit{{"return o.PayType == payType && o.PayChannel == payChannel })", "return o.PayChannel != \"\" })"}},
	},
	{
		"choice", "made twice", "bill/transition.go",
		"./payment TestSixtyFourChoicesAreOnePayment",
		[]edit{{"case b.Status != Choose, b.ExpiryPassed(e.At):", "case b.ExpiryPassed(e.At):"}},
	},
	{
		"choice", "made after the bill's time", "bill/transition.go",
		"./bill TestNothingIsChosenTwiceTooLateOrByHalf",
		[]edit{{"case b.Status != Choose, b.ExpiryPassed(e.At):", "case b.Status != Choose:"}},
	},
	{
		"try again", "the gateway is not asked once more", "payment/retry.go",
		"./payment TestAPaymentThatTheGatewayKnowsOfIsSeenBeforeANewAttemptBegins",
		[]edit{{"return w.restart(s, o, h, record, b)", "c, err = w.start(s, o, h, record)\n\treturn c, false, err"}},
	},
	{
		"try again", "each press is an attempt", "payment/retry.go",
		"./payment TestSixtyFourPressesOfTryAgainAreOneAttempt",
		[]edit{{"if latest, _ := record.Latest(); latest.ID != id {", "if latest, _ := record.Latest(); latest.ID == \"\" {"}},
	},
	{
		"try again", "beside a reported payment", "payment/retry.go",
		"./payment TestAReportedPaymentIsConfirmedBeforeANewAttemptBegins",
		[]edit{{"if reported, ok := record.Unconfirmed(); ok {", "if reported, ok := record.Unconfirmed(); ok && reported.ID == \"\" {"}},
	},
	{
		"try again", "at an amount that the shop has changed", "payment/create.go",
		"./payment TestWhatTheShopTookBackOrChangedIsNotTriedAgain",
		[]edit{{"if before := current; !before.Matches(o) {", "if before := current; before.ID == \"\" {"}},
	},

	// What is kept for ever (retention).
	{
		"retention", "what is open is forgotten", "bill/transition.go",
		"./bill TestEveryCellOfTheTableIsAsTheContractSays|TestABillThatMayBePaidIsNotForgotten",
		[]edit{{"if !b.Status.Final() || b.Unconfirmed() {", "if b.Status == Choose {"}},
	},
	{
		"retention", "what still has to be asked after is forgotten", "payment/retention.go",
		"./payment TestWhatIsOpenOrStillAskedAfterIsNeverForgotten",
		[]edit{{" || !b.Due.IsZero() {", " {"}},
	},

	// A store that has lost something (architecture 10).
	{
		"witness", "not compared with the store", "store/badger/state.go",
		"./store/badger TestAStoreThatHasGoneBackIsRefusedUntilItsWitnessIsRemoved|TestAWitnessThatSawMoreRefusesTheStore",
		[]edit{{"case held.Sequence < s.Sequence || held.Bills < s.Bills:", "case held.Sequence == 0:"}},
	},
	{
		"what is held is the newest", "what was read of an older moment is held", "store/badger/recent.go",
		"./store/badger TestARecentBillIsThatOfTheLastCommit|TestWhatWasReadBeforeACommitIsNotRecentAfterIt",
		[]edit{{"if m.newest == of {", "if m.newest != nil {"}},
	},
	{
		"what is held is the newest", "what was written is held", "store/badger/recent.go",
		"./store/badger TestARecentBillIsThatOfTheLastCommit",
		[]edit{{"\t\tdelete(r.young, key)\n\t\tdelete(r.old, key)\n", "\t\t_ = key\n"}},
	},
	{
		"what is held is the newest", "a change does not see the one before it in its batch", "store/badger/recent.go",
		"./store/badger TestAChangeSeesTheOneBeforeItInItsBatchThoughTheBillIsRecent",
		[]edit{{"if ok && !written {", "if ok && (true || !written) {"}},
	},
	{
		"what is held is the newest", "reads stay in an older moment", "store/badger/store.go",
		"./store/badger TestACommitIsSeenWhenItsCallerHearsOfItAndNotBefore",
		[]edit{{"\ts.moments.advance()\n", ""}},
	},
	{
		"witness", "ahead of the commit", "store/badger/committer.go",
		"./store/badger TestTheWitnessIsNeverAheadOfACommit",
		[]edit{{"\tif err := c.commit(b.txn); err != nil {", "\tc.saw(next.state)\n\tif err := c.commit(b.txn); err != nil {"}},
	},
	{
		"witness", "a hole between later changes is passed over", "store/badger/state.go",
		"./store/badger TestALossBetweenTwoWriteAheadLogsIsNoticed",
		[]edit{{"if last != 0 && held.Sequence != last-1 {", "if last != 0 && held.Sequence > last {"}},
	},
	{
		"checksums", "tables are not verified", "store/badger/store.go",
		"./store/badger TestAStoreWithADamagedTableIsNotOpened",
		[]edit{{"verifyTables(ctx, tables, verifyAtOnce)", "verifyTables(ctx, nil, verifyAtOnce)"}},
	},
	{
		"checksums", "a record's is not compared", "store/badger/record.go",
		"./store/badger TestEveryFlippedBitIsNoticed|TestARecordUnderAnothersKeyIsNoticed",
		[]edit{{"if binary.BigEndian.Uint32(record[body:]) != checksum(key, record[:body]) {", "if binary.BigEndian.Uint32(record[body:]) == 0 {"}},
	},

	// What an operator does, and who is one.
	{
		"the console's user", "a header that anybody may send counts", "console.go",
		". TestAHeaderCountsOnlyWhereForwardAuthWasAskedAboutTheRequest",
		[]edit{{"strings.TrimSpace(answered) != name {", "strings.TrimSpace(answered) == \"-\" {"}},
	},
	{
		"the console's user", "a path with dots is answered", "console.go",
		". TestAHeaderCountsOnlyWhereForwardAuthWasAskedAboutTheRequest",
		[]edit{{"if !ok || !isClean(r.URL.Path) {", "if !ok || isClean(r.URL.Path) && false {"}},
	},
	{
		"the console's forms", "another user's token is taken", "console/token.go",
		"./console TestAFormWithoutItsUsersTokenIsRefused",
		[]edit{{"if hmac.Equal(mixed, v.mac(key)) {", "if len(mixed) == len(v.mac(key)) {"}},
	},
	{
		"the console's forms", "a form of another site is taken", "console/token.go",
		"./console TestAFormFromElsewhereIsRefused",
		[]edit{{"return sites[0] == \"same-origin\"", "return sites[0] != \"\""}},
	},
	{
		"an operator's act", "stands in no history", "payment/work.go",
		"./payment TestWhatAnOperatorDoesIsInTheHistoryUnderHisNameWithWhatCameOfIt",
		[]edit{{"\te.Actor = w.actor\n", ""}},
	},
	{
		"an operator's act", "on a bill that has changed since", "operator/act.go",
		"./operator TestAnActOnABillThatHasChangedSinceIsRefused",
		[]edit{{"!matches(seen, etagOf(text))", "matches(seen, string(text[:0]))"}},
	},
	{
		"exports", "one that could not be finished looks whole", "operator/stream.go",
		"./operator TestAnExportThatCannotBeFinishedBreaksOff",
		[]edit{{"func cut() { panic(http.ErrAbortHandler) }", "func cut() {}"}},
	},
	{
		"exports", "a cell behind a semicolon is run", "operator/export.go",
		"./operator TestACellIsReadBackAsItWas",
		[]edit{{"\t\tbegins = strings.ContainsRune(separators, r)\n\t}\n\treturn cell.String()", "\t\tbegins = false\n\t}\n\treturn cell.String()"}},
	},
	{
		"a restored store", "takes new payments", "payment/backup.go",
		"./payment TestARestoredStoreTakesNoNewPaymentsUntilItIsReopened",
		[]edit{{"if !bill.CheckoutsClosed(store).IsZero() {", "if bill.CheckoutsClosed(store).IsZero() && false {"}},
	},

	{
		"a restored store", "applies again for what it has", "payment/gateway.go",
		"./payment TestARestoredStoreAppliesForNothingAgainUntilItIsReopened",
		[]edit{{"if !bill.CheckoutsClosed(w.store).IsZero() {", "if bill.CheckoutsClosed(w.store).IsZero() && false {"}},
	},

	// A gate opens with its own order's payment alone.
	{
		"a gate's order", "its code is not compared", "handlers/gate.go",
		"./handlers TestACheapPaidBillOpensNothingElse",
		[]edit{{"if want.OrderCode != \"\" && !same(want.OrderCode, b.OrderCode) {", "if want.OrderCode != \"\" && !same(b.OrderCode, b.OrderCode) {"}},
	},
	{
		"a gate's order", "what it opens is not compared", "handlers/gate.go",
		"./handlers TestACheapPaidBillOpensNothingElse|TestMetadataIsComparedExactly",
		[]edit{{"if err != nil || !same(value, got) {", "if err != nil || !same(value, value) || got == \"never\" {"}},
	},
	{
		"a gate's order", "a later attempt's metadata counts", "handlers/gate.go",
		"./handlers TestThePaidAttemptDecides",
		[]edit{{"return o.Bills[:min(len(o.Bills), 1)]", "return o.Bills"}, {"if len(paid) > 0 {", "if len(paid) > len(o.Bills) {"}, {"!slices.Contains(want.Statuses, b.Status)", "b.Status == bill.Canceled"}},
	},
	{
		"a gate's order", "an empty value is met", "handlers/gate.go",
		"./handlers TestAnEmptyValueOpensNothing",
		[]edit{{"complete = complete && ok && value != \"\"", "complete = complete && (ok || value == \"\")"}},
	},
	{
		"a gate's cookie", "its signature is not compared", "handlers/pass.go",
		"./handlers TestForgedForeignAndExpiredCookiesOpenNothingAndAskNobody",
		[]edit{{"genuine := false", "genuine := true"}},
	},
	{
		"a gate's cookie", "its age is not looked at", "handlers/pass.go",
		"./handlers TestForgedForeignAndExpiredCookiesOpenNothingAndAskNobody|TestAPassIsRenewedInItsSecondHalfOnly",
		[]edit{{"return genuine && now.Before(h.expires)", "return genuine"}},
	},
	{
		"a gate's cookie", "it is good for another shop", "handlers/pass.go",
		"./handlers TestForgedForeignAndExpiredCookiesOpenNothingAndAskNobody",
		[]edit{{"\tmac.Write(p.scope)\n", ""}},
	},
	{
		"a gate's cookie", "it is given for a bill that is not paid", "handlers/pass.go",
		"./handlers TestWhoIsShownAPaidBillIsGivenThePass",
		[]edit{{"b.Status != bill.Success || h.PaidCookie == nil", "h.PaidCookie == nil"}},
	},
	{
		"a gate's cookie", "the store is not asked whether it is paid", "handlers/gate.go",
		"./handlers TestASignatureAloneOpensNothing",
		[]edit{{"|| !slices.Contains(want.Statuses, b.Status) {", "{"}},
	},
	{
		"a gate without a store", "not known is not paid", "matcher.go",
		". TestAStoreThatCannotBeAskedOpensNothingWhicheverWayTheQuestionIsPut",
		[]edit{{"return false, caddyhttp.Error(http.StatusServiceUnavailable, fmt.Errorf(\"qlink_bill: whether the order is paid is not known: %w\", err))", "return false, nil"}},
	},

	// What is measured is what was stored, and nobody waits for who looks on.
	{
		"metrics", "what was not stored is counted", "payment/commit.go",
		"./payment TestWhatIsNotStoredIsNotCounted",
		[]edit{{"\tif err != nil {\n\t\treturn err\n\t}\n\tfor _, c", "\tfor _, c"}},
	},
	{
		"metrics", "the first of its kind is no increase", "metrics.go",
		". TestASeriesExistsBeforeItsFirstEvent",
		[]edit{{"range payment.Alarms() {", "range payment.Alarms()[:0] {"}},
	},
	{
		"metrics", "a stranger's app key is a label", "handlers/webhook.go",
		"./handlers TestAnAppKeyThatNobodyHasIsNoLabel",
		[]edit{{"h.refuseForgery(w, r, \"\")", "h.refuseForgery(w, r, r.Header.Get(\"appKey\"))"}},
	},
	{
		"metrics", "a scrape opens the store", "gauges.go",
		". TestAScrapeOpensNoStore",
		[]edit{{"if !store.Has(v.key) {", "if v.key == \"\" && !store.Has(v.key) {"}},
	},
	{
		"events", "who listens holds up a payment", "payment/emit.go",
		"./payment TestAListenerThatHangsDelaysNoPaymentAndBeyondABoundEventsAreDropped",
		[]edit{{"\t\tgo m.run()\n", "\t\tm.mu.Unlock()\n\t\tm.run()\n\t\tm.mu.Lock()\n"}},
	},
	{
		"events", "they go out while Caddy still starts", "emit.go",
		". TestNothingIsHandedOnBeforeAllOfCaddyIsUp",
		[]edit{{"v.key == key && v.listeners.up()", "v.key == key && v.listeners != nil"}},
	},
	{
		"traces", "they hold the gateway's words", "payment/breaker.go",
		"./payment TestAFailureIsMarkedInItsSpanWithoutTheGatewaysWords",
		[]edit{{"outcome := callOutcome(err)\n", "outcome := callOutcome(err)\n\t\tif err != nil {\n\t\t\toutcome = CallOutcome(err.Error())\n\t\t}\n"}},
	},

	// One truth for many nodes.
	{
		"one order for many nodes", "two begin the same attempt", "store/postgres/migrations/00001_bills.sql",
		"./store/postgres TestOfManyNodesThatBeginTheSameAttemptExactlyOneWins",
		[]edit{{"CREATE UNIQUE INDEX attempts", "CREATE INDEX attempts"}},
	},
	{
		"one order for many nodes", "a write does not look which revision it follows", "store/postgres/commit.go",
		"./store/postgres TestTheStoreKeepsItsPromises/OfManyCommitsOfOneRevisionExactlyOneWins",
		[]edit{{"b.revision = $2::bigint - 1 AND", "b.revision <= $2::bigint AND"}},
	},
	{
		"what PostgreSQL has confirmed", "a server set to forget it may", "store/postgres/commit.go",
		"./store/postgres TestWhatWasConfirmedIsThereAfterTheServerWasKilled",
		[]edit{{"WHEN 'off' THEN 'on'", "WHEN 'off' THEN 'off'"}},
	},
	{
		"what PostgreSQL has confirmed", "without its standby passes for durable", "store/postgres/commit.go",
		"./store/postgres TestACommitThatGaveUpWaitingForTheStandbyIsNotAcknowledged",
		[]edit{{"case heard[warned] != nil:", "case heard[warned] != nil && false:"}},
	},
	{
		"idempotency over nodes", "the later answer counts", "bill/store.go",
		"./store/memory TestTheStoreKeepsItsPromises/TheFirstAnswerUnderAnIdempotencyKeyStaysUntilItIsForgotten",
		[]edit{{"return !later.At.Before(i.ExpiresAt) ||", "return true || !later.At.Before(i.ExpiresAt) ||"}},
	},
	{
		"a database that is gone", "calls under way wait for it", "store/postgres/store.go",
		"./store/postgres TestACallUnderWayEndsWithTheDatabase",
		[]edit{{"defer context.AfterFunc(up, cancel)()", "_ = up"}},
	},
	{
		"a database that is gone", "who is cut off keeps what it has locked", "store/postgres/commit.go",
		"./store/postgres TestWhoIsCutOffInATransactionHoldsUpNobody",
		[]edit{{"set_config('idle_in_transaction_session_timeout', '5s', true)", "1"}},
	},
	{
		"changes at other nodes", "one that took its time is passed over", "store/postgres/follow.go",
		"./store/postgres TestAChangeThatTookItsTimeIsFound",
		[]edit{{"f.since(retellTime), pollPage", "end, pollPage"}},
	},
	{
		"changes at other nodes", "versions go back", "store/postgres/follow.go",
		"./store/postgres TestVersionsNeverGoBack",
		[]edit{{"known && before.version >= version", "known && before.version >= version && version == 0"}},
	},
	{
		"transactions in each other's way", "are not tried again", "store/postgres/errors.go",
		"./store/postgres TestWhatGetsInEachOthersWayIsTriedAgain",
		[]edit{{"c == serializationFailure || c == deadlockDetected ||", "c == \"x\"+serializationFailure ||"}},
	},
	{
		"leases", "what another one has leased is leased again", "store/postgres/due.go",
		"./store/postgres TestTheStoreKeepsItsPromises/WhatIsLeasedIsItsHoldersAlone",
		[]edit{{"leased_until < now() OR leased_by = $1)\n\t\t\tORDER BY", "leased_until < now() OR leased_by <> '')\n\t\t\tORDER BY"}},
	},
	{
		"leases", "a notification overtakes another one", "store/postgres/due.go",
		"./store/postgres TestTheStoreKeepsItsPromises/WhatIsSupersededStaysLeasedAndHoldsUpTheNext",
		[]edit{{"o.leased_until >= now() AND o.leased_by <> $1)", "o.leased_until >= now() AND o.leased_by = '')"}},
	},
	{
		"leases", "another's are not looked at", "store/memory/lease.go",
		"./store/memory TestTheStoreKeepsItsPromises",
		[]edit{{"return ok && held.holder != holder", "return ok && held.holder != holder && holder == \"\""}},
	},
	{
		"leases", "what is superseded is free at once", "store/memory/outbox.go",
		"./store/memory TestTheStoreKeepsItsPromises",
		[]edit{{"\tif n.State != bill.Superseded {\n\t\tdelete(s.told, n.ID)\n\t}\n", "\tdelete(s.told, n.ID)\n"}},
	},
	{
		"leases", "every node delivers", "payment/lease.go",
		"./payment TestANotificationIsDeliveredByOneNode|TestANewerNotificationNeverOvertakesADeliveryUnderWayAtAnotherNode",
		[]edit{{"\tif !shared {\n\t\treturn store.DueNotifications(", "\tif leaser != nil || !shared {\n\t\treturn store.DueNotifications("}},
	},
	{
		"leases", "those of the dead last for minutes", "payment/lease.go",
		"./payment TestTheWorkOfANodeThatDiedIsTakenOverWithinThirtySeconds|TestWhatSupersededADeliveryIsToldWithinThirtySecondsWhereItsNodeDies",
		[]edit{{"leaseFor    = 25 * time.Second", "leaseFor    = 4 * time.Minute"}},
	},
	{
		"leases", "one under way is given back", "payment/deliver.go",
		"./payment TestANewerNotificationNeverOvertakesADeliveryUnderWayAtAnotherNode",
		[]edit{{"\tcase alreadyUnderWay: //", "\tcase alreadyUnderWay:\n\t\td.leave(ctx, store, n.ID) //"}},
	},
	{
		"leases", "a redelivery begins beside a delivery", "payment/redeliver.go",
		"./payment TestARedeliveryAtOneNodeDoesNotBeginBesideTheDeliveryAtAnother",
		[]edit{{"case n.State != bill.Pending || n.Due.After(e.now()):", "case n.ID != \"\":"}},
	},
	{
		"leases", "bills of an unknown account are put off at once", "payment/reconcile.go",
		"./payment TestANodeThatDoesNotKnowAnAccountLeavesItsBillsToOneThatDoes",
		[]edit{{"p.leave(ctx, known)...", "known..."}},
	},

	// One truth in one of two stores.
	{
		"a store that was left", "takes payments again", "store/badger/store.go",
		"./store/badger TestTheStoreKeepsItsPromises/AStoreThatMovesIsOpenedForNobodyElse",
		[]edit{{"return openFor(ctx, dir, env, (*store).refused)", "return openFor(ctx, dir, env, func(*store) error { return nil })"}},
	},
	{
		"a store that was left", "is taken back with its checkouts open", "store/badger/migration.go",
		"./store/badger TestOnlyAStoreThatWasLeftComesBackWithItsCheckoutsClosed",
		[]edit{{"if left.Role != bill.RoleLeft {", "if left.Role == bill.RoleLeft {"}},
	},
	{
		"a store that moves", "takes what comes before a poll", "store/postgres/commit.go",
		"./store/postgres TestNodesThatRunTakeNothingOnceTheStoreMoves",
		[]edit{{"s.transact(ctx, conn, committable,", "s.transact(ctx, conn, anyway,"}},
	},
	{
		"a migration", "what was lost or changed is not noticed", "store/migrate/verify.go",
		"./store/migrate TestWhatIsLostOrChangedOnTheWayIsNoticed",
		[]edit{{"if from != to {", "if from.Records() != to.Records() {"}},
	},
	{
		"a migration", "both stores serve", "store/migrate/migrate.go",
		"./store/migrate TestARunThatEndsAnywhereIsGoneOnWithAndNeverDoBothServe",
		[]edit{{"r.from.Role, r.from.Since = bill.RoleLeft, m.Now().UTC()", "r.from = bill.Migration{}"}},
	},
	{
		"a migration", "is begun anew after a kill", "store/migrate/migrate.go",
		"./store/migrate TestARunThatEndsAnywhereIsGoneOnWithAndNeverDoBothServe",
		[]edit{{"for !state.All {\n", "for state.Cursor, state.All = \"\", false; !state.All; {\n"}},
	},
	{
		"a migration", "deletes what its target took", "store/migrate/migrate.go",
		"./store/migrate TestWhatATargetTookInTheLastMomentIsNotDeleted",
		[]edit{{"taken := m.empty(ctx)\n", "taken := ctx.Err()\n"}},
	},
}
