// Keeps the page of a bill up to date. It says nothing itself: what has changed
// is fetched as a page and put in the place of the old. Without it the page
// reloads itself instead.
(() => {
const $ = (selector, root = document) => root.querySelector(selector)
const all = selector => document.querySelectorAll(selector)
const pause = ms => new Promise(done => setTimeout(done, ms))
const live = $('#live')
let main, data, began, source, polling, abort, drawing, again, staying, said, timer, later

const say = text => { live.textContent = text || '' }

// The page as it is now on the server: its main part alone, since the style
// around it carries a nonce that is not this page's.
const fetchMain = async () => {
  const answer = await fetch(location.href, {headers: {Accept: 'text/html'}})
  const text = await answer.text()
  const part = text.slice(text.indexOf('<main'), text.indexOf('</main>'))
  return $('main[data-version]', new DOMParser().parseFromString(part, 'text/html'))
}

// One at a time: who asks meanwhile gets another round.
const redraw = async () => {
  if (drawing) { again = true; return }
  drawing = true
  do {
    again = false
    try { show(await fetchMain()) } catch { await pause(1000); again = navigator.onLine }
  } while (again)
  drawing = false
}

const show = next => {
  if (!next) return
  const {version, state, ways} = data
  began = performance.now()
  if (next.dataset.version == version && next.dataset.state == state && next.dataset.ways == ways) {
    Object.assign(data, next.dataset)
    plan()
    return
  }
  main.replaceWith(next)
  begin()
  if (next.dataset.state != state) {
    say(next.dataset.said)
    if (data.final) $('h1').focus()
  }
}

// Some things change with time alone.
const plan = () => {
  clearTimeout(later)
  if (data.again) later = setTimeout(redraw, data.again * 1000)
}

// What changes on the server comes as an event, whose id is the version.
const listen = () => {
  if (source) source.close()
  const mine = source = new EventSource(data.bill + '/events')
  const silent = setTimeout(() => { if (mine == source) fallBack() }, 5000)
  mine.addEventListener('bill', event => {
    clearTimeout(silent)
    if (event.lastEventId != data.version) redraw()
  })
  mine.onerror = () => { if (mine.readyState == 2 && mine == source) fallBack() }
}

// Something on the way holds events back: long polls, one after the other.
const fallBack = () => {
  source.close()
  source = null
  if (!polling) poll()
}

// An unpaid end is not the last word: a late payment is shown, too.
const follow = () => {
  if (!data.final) return source || polling || listen()
  if (source) source.close()
  source = null
  if (!data.paid && !polling) poll()
}

const poll = async () => {
  polling = true
  let tag = ''
  while (!source && !data.paid) {
    abort = new AbortController()
    const late = setTimeout(() => abort.abort(), 60000)
    try {
      const answer = await fetch(data.bill, {headers: {Prefer: 'wait=45', 'If-None-Match': tag}, signal: abort.signal})
      if (answer.status == 404) break
      if (answer.ok) {
        tag = answer.headers.get('ETag')
        if ((await answer.json()).version != data.version) await redraw()
      } else if (answer.status != 304) await pause(3000)
    } catch { await pause(2000) }
    clearTimeout(late)
  }
  polling = false
}

// A phone that slept has missed what its connections would have told.
const wake = () => {
  $('#offline').hidden = navigator.onLine
  if (document.hidden || !navigator.onLine) return
  redraw()
  if (polling) abort.abort()
  else if (source) listen()
}

const clock = s => {
  const two = n => String(n).padStart(2, '0')
  return (s < 3600 ? '' : Math.floor(s / 3600) + ':') + two(Math.floor(s / 60) % 60) + ':' + two(s % 60)
}

// The time left is the server's: the buyer's clock may be wrong.
const tick = () => {
  const left = Math.max(0, Math.round(data.left - (performance.now() - began) / 1000))
  const shown = $('#left')
  if (!shown) return
  shown.textContent = clock(left)
  const step = left > 300 ? 0 : left > 60 ? 1 : left > 0 ? 2 : 3
  if (step != said && said != null) {
    if (step == 3) redraw()
    else say(step == 2 ? data.minute : data.five)
  }
  said = step
}

// Back to the shop, announced: once it knows, or after five seconds.
const goBack = async () => {
  const link = $('#back')
  if (!data.back || !link || staying != null) return
  staying = self != top
  if (staying) return acts.stay()
  for (let i = 0; i < 5; i++) {
    await pause(1000)
    if (i == 0 || data.told) continue
    try { data.told = (await fetchMain()).dataset.told } catch {}
    if (data.told) break
  }
  if (!staying) location.assign(link.href)
}

const share = async button => {
  const picture = await (await fetch(button.dataset.share)).blob()
  const file = new File([picture], 'qr.png', {type: picture.type})
  if (navigator.canShare({files: [file]})) await navigator.share({files: [file], title: document.title})
}

const acts = {
  copy: async button => { await navigator.clipboard.writeText(button.dataset.copy); say(''); say(data.copied) },
  share,
  print: () => print(),
  stay: () => { staying = true; all('.returning').forEach(e => { e.hidden = true }) },
}
const can = {copy: navigator.clipboard, share: navigator.canShare, print: true, stay: self == top}

// Wires a page that has just been shown.
const begin = () => {
  main = $('main')
  data = main.dataset
  began = performance.now()
  said = null
  for (const act in acts) all('[data-' + act + ']').forEach(button => {
    button.hidden = !can[act]
    button.onclick = () => acts[act](button)?.catch?.(() => {})
  })
  const form = new Intl.DateTimeFormat(document.documentElement.lang, {dateStyle: 'medium', timeStyle: 'short'})
  all('time').forEach(e => { e.textContent = form.format(new Date(e.dateTime)) })
  clearInterval(timer)
  if (data.left) { tick(); timer = setInterval(tick, 1000) }
  plan()
  follow()
  goBack()
}

document.addEventListener('visibilitychange', wake)
addEventListener('online', wake)
addEventListener('offline', wake)
addEventListener('pageshow', event => { if (event.persisted) wake() })
if ($('main[data-version]')) begin()
})()
