// What a machine can see of a page: a list of complaints, empty if there is none.
// Contrast after WCAG 2.2: 1.4.3 for text, 1.4.11 for the edges of fields.
() => {
  const complaints = [];
  const name = (node) => `${node.localName}${node.className?.baseVal ?? (node.className ? "." + node.className : "")} "${node.textContent.trim().slice(0, 40)}"`;
  const numbers = (color) => {
    const [r, g, b, alpha = 1] = color.match(/-?[\d.]+(?:e-?\d+)?/g).map(Number);
    return color.startsWith("color(") ? [r * 255, g * 255, b * 255, alpha] : [r, g, b, alpha];
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((part) => { const c = part / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [a, b] = [luminance(one), luminance(other)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const ground = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const color = numbers(getComputedStyle(one).backgroundColor);
      if (color[3] === 1) return color;
    }
    return [255, 255, 255, 1];
  };
  const tooFaint = (color, node, least, what) => {
    const found = contrast(numbers(color), ground(node));
    if (found < least) complaints.push(`faint (${found.toFixed(2)} of ${least}): ${what}`);
  };

  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) complaints.push(`the page is ${wide} px too wide`);

  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.data.trim() || ["SCRIPT", "STYLE", "OPTION"].includes(parent.tagName) || !parent.checkVisibility({ visibilityProperty: true })) continue;
    const style = getComputedStyle(parent);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    tooFaint(parent instanceof SVGElement ? style.fill : style.color, parent, large ? 3 : 4.5, name(parent));
    const range = document.createRange();
    for (const { 0: word, index } of node.data.matchAll(/[\p{L}\d]{2,24}/gu)) {
      if (parent.closest(".mono, code, pre")) break; // what is no word may break anywhere
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const lines = new Set([...range.getClientRects()].map((rect) => Math.round(rect.top)));
      if (lines.size > 1) complaints.push(`a word is broken: ${word} in ${name(parent)}`);
    }
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      const box = { above: false, left: rect.left, right: rect.right, top: rect.top, bottom: rect.bottom, parent };
      let scrolls = false;
      for (let one = parent; one; one = one.parentElement) {
        const { overflowX, overflowY, position } = getComputedStyle(one);
        box.above ||= position === "sticky" || position === "fixed"; // it is meant to cover what scrolls
        if (overflowX === "visible" && overflowY === "visible") continue;
        const edge = one.getBoundingClientRect();
        scrolls ||= overflowX === "auto";
        if (one === document.body || one === document.documentElement) continue;
        box.left = Math.max(box.left, edge.left); box.right = Math.min(box.right, edge.right);
        box.top = Math.max(box.top, edge.top); box.bottom = Math.min(box.bottom, edge.bottom);
      }
      if (box.right - box.left < 1 || box.bottom - box.top < 1 || box.right < 0) continue;
      if (!scrolls && box.right > innerWidth + 1) complaints.push(`outside the window: ${name(parent)}`);
      texts.push(box);
    }
  }
  const over = (a, b) => a.above === b.above && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
  texts.sort((a, b) => a.top - b.top);
  texts.forEach((a, place) => {
    for (let next = place + 1; next < texts.length && texts[next].top < a.bottom; next++) {
      if (a.parent !== texts[next].parent && over(a, texts[next])) complaints.push(`on top of each other: ${name(a.parent)} and ${name(texts[next].parent)}`);
    }
  });

  for (const one of document.querySelectorAll("body *")) {
    if (!one.checkVisibility()) continue;
    const style = getComputedStyle(one);
    if (style.overflowX === "hidden" && one.scrollWidth > one.clientWidth + 1 && !one.title && !one.querySelector("[title]")) complaints.push(`cut off: ${name(one)}`);
    if (!one.matches("input:not([type=checkbox]), select, button")) continue;
    tooFaint(style.borderTopColor, one.parentElement, 3, `the edge of ${name(one)}`);
    if (one.placeholder && !one.value) tooFaint(getComputedStyle(one, "::placeholder").color, one, 4.5, `the hint "${one.placeholder}"`);
    if (one.localName !== "button" && one.placeholder && !one.value) {
      const pen = document.createElement("canvas").getContext("2d");
      pen.font = style.font;
      const room = one.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
      if (pen.measureText(one.placeholder).width > room + 1) complaints.push(`cut off: the hint "${one.placeholder}"`);
    }
  }
  return complaints;
}
