// The composer: nothing typed is ever lost. A field empties only once the outbox has the reply.
const root = document.getElementById('composer');
const words = document.getElementById('words')?.dataset ?? {};
const find = (node, selector) => node.querySelector(selector);
const fill = (pattern, value) => pattern.replace(/\{\w+\}/, value);

// How long a text is by its platform's rule; the server decides by the same.
export function measure(text, rule) {
	let total = 0;
	const whole = text.normalize('NFC');
	const rest = rule.url ? whole.replace(/https?:\/\/\S+/g, () => { total += rule.url; return '\u0000'; }) : whole;
	const pieces = rule.unit === 'characters' ? [...rest] : Array.from(new Intl.Segmenter('ko', { granularity: 'grapheme' }).segment(rest), piece => piece.segment);
	for (const piece of pieces) {
		if (piece === '\u0000') continue;
		if (rule.unit !== 'weighted') { total += 1; continue; }
		// An emoji sequence counts two.
		if (/\p{Extended_Pictographic}|\p{Regional_Indicator}/u.test(piece)) { total += 2; continue; }
		for (const sign of piece) total += rule.light.some(([from, to]) => sign.codePointAt(0) >= from && sign.codePointAt(0) <= to) ? 1 : 2;
	}
	return total;
}

function start(form) {
	const field = find(form, 'textarea'), send = find(form, '[data-send]'), count = find(form, '.count'), trouble = find(form, '.trouble');
	const saved = find(root, '.saved'), other = find(root, '.other-draft');
	const { kind } = form.dataset, number = root.dataset.case, key = `draft:${document.body.dataset.me}:${number}:${kind}`;
	const data = field.dataset;
	const rule = data.max && {
		unit: data.unit, max: Number(data.max), url: Number(data.url) || 0,
		light: (data.light || '').split(',').filter(Boolean).map(range => range.split('-').map(Number)),
	};
	const csrf = form.elements.csrf.value;
	let etag = form.dataset.etag || '0', stored = field.defaultValue, writing, again, local, remote, sent, busy;
	const clock = () => document.querySelector('#live-state .now')?.textContent ?? '';
	const keep = text => { try { if (text) localStorage.setItem(key, text); else localStorage.removeItem(key); } catch { /* private window: the server's copy must do */ } };

	function weigh() {
		let over = false;
		if (rule) {
			const signed = field.value.trim() && data.signature ? `${field.value} ${data.signature}` : field.value;
			const left = rule.max - measure(signed, rule);
			over = left < 0;
			count.textContent = fill(over ? words.tooLong : words.remaining, Math.abs(left));
			count.classList.toggle('near', !over && left <= 20);
			count.classList.toggle('over', over);
		}
		field.setAttribute('aria-invalid', String(over));
		send.disabled = busy || over || !field.value.trim();
	}
	function put(keepalive) {
		const text = field.value;
		return fetch(`/cases/${number}/draft`, {
			method: 'PUT', keepalive, body: new URLSearchParams({ kind, text }),
			headers: { 'If-Match': `"${etag}"`, 'X-CSRF-Token': csrf },
		}).then(async answer => {
			if (answer.ok) {
				etag = (answer.headers.get('etag') || etag).replaceAll('"', '');
				stored = text;
				saved.textContent = text ? fill(words.saved, clock()) : '';
			} else if (answer.status === 412) {
				const theirs = await answer.json();
				etag = String(theirs.version);
				if (theirs.text !== field.value) offer(theirs.text); else stored = theirs.text;
			} else saved.textContent = words.kept;
		}, () => { saved.textContent = words.kept; });
	}
	// One write after the other: no older text overtakes a newer one.
	function save() {
		clearTimeout(remote);
		if (writing) { again = true; return; }
		if (field.value === stored) return;
		writing = put(false).finally(() => { writing = null; if (again) { again = false; save(); } });
	}
	function offer(text) {
		other.hidden = false;
		find(other, 'q').textContent = text;
		const done = () => { other.hidden = true; field.focus(); };
		find(other, '[data-act="use-draft"]').onclick = () => { field.value = text; typed(); done(); };
		find(other, '[data-act="keep-draft"]').onclick = () => { save(); done(); };
	}
	function typed() {
		weigh();
		clearTimeout(local);
		clearTimeout(remote);
		local = setTimeout(() => keep(field.value), 300);
		remote = setTimeout(save, 1000);
	}
	field.addEventListener('input', typed);
	addEventListener('pagehide', () => { keep(field.value); if (field.value !== stored && !sent) put(true); });

	const on = (name, act) => form.addEventListener(name, e => { if (e.target === form) act(e); });
	on('htmx:before:request', e => {
		if (busy) { e.preventDefault(); return; }
		busy = true;
		trouble.hidden = true;
		clearTimeout(remote);
		sent = { text: field.value, start: field.selectionStart, end: field.selectionEnd };
		weigh();
	});
	const fail = id => {
		trouble.textContent = `${words.notSent}${id ? ` ${fill(words.errorId, id)}` : ''}`;
		trouble.hidden = false;
		busy = false;
		sent = null;
		weigh();
		field.focus();
	};
	on('htmx:after:request', e => {
		const { response } = e.detail.ctx;
		if (!busy) return;
		if (!(response.status >= 200 && response.status < 300)) return fail(response.headers.get('x-error-id'));
		busy = false;
		// Typed meanwhile: stays.
		field.value = field.value === sent.text ? '' : field.value;
		stored = field.value;
		etag = response.headers.get('x-draft-version') ?? '0';
		keep(field.value);
		saved.textContent = '';
		weigh();
	});
	on('htmx:error', () => { if (busy) fail(''); });
	document.addEventListener('htmx:after:request', e => {
		const path = e.detail.ctx?.request?.action ?? '';
		if (kind !== 'reply' || !sent || !String(path).endsWith('/undo') || e.detail.ctx.response.status !== 200) return;
		if (!field.value) {
			field.value = sent.text;
			field.focus();
			field.setSelectionRange(sent.start, sent.end);
			typed();
		}
		sent = null;
	});

	let mine;
	try { mine = localStorage.getItem(key); } catch { /* none is kept */ }
	if (mine && mine !== field.value) { if (field.value) offer(mine); else { field.value = mine; typed(); } }
	weigh();
}
if (root) for (const form of root.querySelectorAll('form')) start(form);
