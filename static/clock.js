// One server time for the page; time left comes from stored deadlines only.
const words = document.getElementById('words')?.dataset ?? {};
const fill = (pattern, n) => pattern.replace('{n}', n);
const listen = (name, act) => document.addEventListener(name, act);
const all = selector => document.querySelectorAll(selector);
const find = (root, selector) => root.querySelector(selector);
const icons = { normal: 'clock', warning: 'triangle-alert', breached: 'octagon-alert' };
const spoken = { normal: words.left, warning: words.soon, breached: words.overdue };

// Server time: the least delayed of the last twenty beats wins.
let offset = Number(document.body.dataset.now) - performance.now();
const samples = [];
function sample(now) {
	if (!now) return;
	samples.push(now - performance.now());
	if (samples.length > 20) samples.shift();
	const best = Math.max(...samples);
	if (samples.length === 1 || Math.abs(best - offset) > 100) { offset = best; paintAll(); }
}
async function ask() {
	try {
		const answer = await fetch('/live/now', { cache: 'no-store' });
		// After sleep the old samples are of another time.
		if (answer.ok) { samples.length = 0; sample((await answer.json()).now); }
	} catch { /* the next beat will tell */ }
}
listen('moksori:time', e => sample(e.detail));
const now = () => offset + performance.now();

// The same rules as format::countdown.
export function countdown(left) {
	const sign = left > 0 ? '' : '+';
	const seconds = left > 0 ? Math.ceil(left / 1000) : Math.floor(-left / 1000);
	const two = n => String(n).padStart(2, '0');
	if (seconds < 3600) return [`${sign}${two(Math.floor(seconds / 60))}:${two(seconds % 60)}`, ''];
	if (seconds < 356400) return [`${sign}${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}`, words.hours];
	return [`${sign}${Math.floor(seconds / 86400)}`, words.days];
}

const set = (node, text) => { if (node && node.textContent !== text) node.textContent = text; };
const dues = new WeakMap();
function paint(clock, at) {
	const due = Number(clock.dataset.due), left = due - at;
	const [digits, unit] = countdown(left);
	const time = find(clock, '.left');
	set(time, digits);
	if (time && time.dataset.unit !== unit) time.dataset.unit = unit;
	const state = left <= 0 ? 'breached' : left <= Number(clock.dataset.warn) ? 'warning' : 'normal';
	const before = clock.dataset.state;
	if (before !== state) {
		clock.dataset.state = state;
		find(clock, '.shape use')?.setAttribute('href', `${words.icons}#${icons[state]}`);
		set(find(clock, '.word'), spoken[state]);
		if (before === 'normal' || state === 'breached') remember(clock, state);
	}
	const bar = find(clock, '.bar .fill');
	if (bar) {
		const width = String(left <= 0 ? 88 : Math.max(0, Math.min(88, Math.round(left * 88 / Number(clock.dataset.target)))));
		if (bar.getAttribute('width') !== width) bar.setAttribute('width', width);
	}
	if ((dues.get(clock) ?? due) !== due) {
		clock.classList.add('moved-deadline');
		setTimeout(() => clock.classList.remove('moved-deadline'), 1000);
	}
	dues.set(clock, due);
}

// Only the reader's own cases are spoken of, merged, at most every ten seconds.
const news = { warning: new Set(), breached: new Set() };
let spoke = -1e9, speaking = 0;
function remember(clock, state) {
	if (!('mine' in clock.dataset) || !clock.dataset.number) return;
	news[state]?.add(clock.dataset.number);
	speaking ||= setTimeout(() => {
		speaking = 0;
		spoke = performance.now();
		const said = [];
		if (news.breached.size) said.push(fill(words.annOver, news.breached.size));
		if (news.warning.size) said.push(fill(words.annSoon, news.warning.size));
		news.warning.clear();
		news.breached.clear();
		document.getElementById('announce').textContent = said.join('. ');
	}, Math.max(0, 10000 - (performance.now() - spoke)));
}

function leaving(reply, at) {
	const left = Math.ceil((Number(reply.dataset.leaves) - at) / 1000);
	if (left > 0) return set(find(reply, '.say'), fill(words.sending, left));
	find(reply, '[data-key="z"]')?.remove();
}

const inView = new Set();
const observer = new IntersectionObserver(entries => {
	for (const { isIntersecting, target } of entries) {
		inView[isIntersecting ? 'add' : 'delete'](target);
		if (isIntersecting && target.dataset.due) paint(target, now());
	}
});
function paintAll() {
	const at = now();
	for (const clock of inView) {
		if (!clock.isConnected) { inView.delete(clock); observer.unobserve(clock); } else if (clock.dataset.due) paint(clock, at);
	}
	for (const reply of all('[data-leaves]')) leaving(reply, at);
	set(find(document, '#live-state .now'), wallClock.format(at));
}
const wallClock = new Intl.DateTimeFormat('en-GB', { timeZone: words.zone || 'UTC', timeStyle: 'medium' });
function scan() {
	for (const clock of all('[data-due]')) observer.observe(clock);
	paintAll();
}

let timer = 0, ticked = performance.now();
function tick() {
	clearTimeout(timer);
	if (document.hidden) return;
	if (performance.now() - ticked > 2000) ask();
	ticked = performance.now();
	paintAll();
	timer = setTimeout(tick, 1005 - now() % 1000);
}
listen('visibilitychange', () => { if (document.hidden) clearTimeout(timer); else { ask(); tick(); } });
listen('htmx:after:swap', scan);
scan();
tick();
