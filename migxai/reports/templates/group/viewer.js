// The viewer of maps: three slices through a point, and a brain to turn. Everything it shows is in the page already.
(() => {
  "use strict";

  const store = document.getElementById("viewer-data");
  if (!store) return;

  const get = (name) => document.getElementById(`viewer-${name}`);
  const PLANES = [
    { name: "sagittal", axis: 0, across: 1, up: 2, ends: ["P", "A"] },
    { name: "coronal", axis: 1, across: 0, up: 2, ends: ["L", "R"] },
    { name: "axial", axis: 2, across: 0, up: 1, ends: ["L", "R"] },
  ];
  // Pixels of a canvas for a millimetre; the browser scales the canvas to its place.
  const DENSITY = 2.5;
  const INSIDE = [0, -18, 8];

  const scene = JSON.parse(store.textContent);
  const view = { map: null, at: [0, 0, 0], threshold: 0, yaw: -0.6, pitch: -0.35, turning: false, drawn: 0 };

  const unpack = async (text) => {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  // ---- values ----------------------------------------------------------------------------------------------------

  const index = (volume, mm, axis) => {
    const place = Math.round((mm - volume.origin[axis]) / volume.step[axis]);
    return place >= 0 && place < volume.shape[axis] ? place : -1;
  };

  const code = (volume, at) => {
    const [i, j, k] = [0, 1, 2].map((axis) => index(volume, at[axis], axis));
    if (i < 0 || j < 0 || k < 0) return 0;
    return volume.data[i + volume.shape[0] * (j + volume.shape[1] * k)];
  };

  const value = (map, byte) => (byte ? (byte - 128) * map.scale : 0);

  const colour = (map, number) => {
    const share = Math.max(-1, Math.min(1, number / map.limit));
    const place = Math.round(255 * (map.signed ? (share + 1) / 2 : Math.max(0, share)));
    return map.signed ? [scene.colours.signed, 3 * place] : [scene.colours.plain, 3 * place];
  };

  // Template between voxels, so that slices look smooth; maps as they are.
  const tone = (volume, at) => {
    const low = [];
    const part = [];
    for (let axis = 0; axis < 3; axis += 1) {
      const place = (at[axis] - volume.origin[axis]) / volume.step[axis];
      if (place < 0 || place > volume.shape[axis] - 1) return 0;
      low[axis] = Math.min(Math.floor(place), volume.shape[axis] - 2);
      part[axis] = place - low[axis];
    }
    const [nx, ny] = volume.shape;
    let sum = 0;
    for (let corner = 0; corner < 8; corner += 1) {
      const [a, b, c] = [corner & 1, (corner >> 1) & 1, corner >> 2];
      const weight = (a ? part[0] : 1 - part[0]) * (b ? part[1] : 1 - part[1]) * (c ? part[2] : 1 - part[2]);
      if (weight) sum += weight * volume.data[low[0] + a + nx * (low[1] + b + ny * (low[2] + c))];
    }
    return sum;
  };

  // ---- slices ----------------------------------------------------------------------------------------------------

  const edges = (axis) => {
    const { origin, step, shape } = scene.template;
    return [origin[axis], origin[axis] + step[axis] * (shape[axis] - 1)];
  };

  const drawSlice = (plane) => {
    const [left, right] = edges(plane.across);
    const [bottom, top] = edges(plane.up);
    const [width, height] = [Math.round(right - left), Math.round(top - bottom)];
    const image = new ImageData(width, height);
    const at = [...view.at];
    for (let row = 0; row < height; row += 1) {
      at[plane.up] = top - row - 0.5;
      for (let column = 0; column < width; column += 1) {
        at[plane.across] = left + column + 0.5;
        const place = 4 * (row * width + column);
        const number = view.map ? value(view.map, code(view.map.volume, at)) : 0;
        if (number && Math.abs(number) >= view.threshold) {
          const [table, first] = colour(view.map, number);
          for (let c = 0; c < 3; c += 1) image.data[place + c] = table[first + c];
        } else {
          image.data.fill(tone(scene.template, at), place, place + 3);
        }
        image.data[place + 3] = 255;
      }
    }
    const canvas = get(plane.name);
    canvas.width = width * DENSITY;
    canvas.height = height * DENSITY;
    const small = new OffscreenCanvas(width, height);
    small.getContext("2d").putImageData(image, 0, 0);
    const pen = canvas.getContext("2d");
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
    const x = (view.at[plane.across] - left) * DENSITY;
    const y = (top - view.at[plane.up]) * DENSITY;
    pen.strokeStyle = "rgba(120, 255, 160, 0.8)";
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (const [x1, y1, x2, y2] of [[x, 0, x, y - 9], [x, y + 9, x, canvas.height], [0, y, x - 9, y], [x + 9, y, canvas.width, y]]) {
      pen.moveTo(x1, y1);
      pen.lineTo(x2, y2);
    }
    pen.stroke();
    pen.fillStyle = "#fff";
    pen.font = `bold ${8 * DENSITY}px system-ui, sans-serif`;
    pen.textBaseline = "top";
    pen.fillText(plane.ends[0], 6, 6);
    pen.textAlign = "right";
    pen.fillText(plane.ends[1], canvas.width - 6, 6);
    pen.textAlign = "left";
    pen.textBaseline = "bottom";
    pen.font = `${7 * DENSITY}px system-ui, sans-serif`;
    pen.fillText(`${"xyz"[plane.axis]} = ${Math.round(view.at[plane.axis])} mm`, 6, canvas.height - 4);
  };

  // ---- the brain that turns --------------------------------------------------------------------------------------

  const SIZE = 420;
  const ZOOM = SIZE / 205;

  const rotation = () => {
    const [ca, sa] = [Math.cos(view.yaw), Math.sin(view.yaw)];
    const [cb, sb] = [Math.cos(view.pitch), Math.sin(view.pitch)];
    // To the right, away from the viewer, up.
    return (x, y, z) => {
      const away = x * sa + y * ca;
      return [x * ca - y * sa, away * cb - z * sb, away * sb + z * cb];
    };
  };

  const stamp = (buffer, x, y, radius, put) => {
    const left = Math.max(0, Math.round(x - radius));
    const right = Math.min(SIZE - 1, Math.round(x + radius));
    const top = Math.max(0, Math.round(y - radius));
    const bottom = Math.min(SIZE - 1, Math.round(y + radius));
    for (let row = top; row <= bottom; row += 1) {
      for (let column = left; column <= right; column += 1) put(buffer, row * SIZE + column);
    }
  };

  const drawBrain = () => {
    const turn = rotation();
    const shell = new Float32Array(SIZE * SIZE);
    const { count, points, normals } = scene.surface;
    for (let i = 0; i < count; i += 1) {
      const facing = turn(normals[i], normals[count + i], normals[2 * count + i])[1] / 127;
      // Bright where the surface is seen along its edge, as in glass; its far side is fainter.
      const weight = (1 - Math.abs(facing)) ** 2 * (facing < 0 ? 1 : 0.35);
      if (weight < 0.05) continue;
      const [x, , up] = turn(points[i] - INSIDE[0], points[count + i] - INSIDE[1], points[2 * count + i] - INSIDE[2]);
      stamp(shell, SIZE / 2 + ZOOM * x, SIZE / 2 - ZOOM * up, 2, (buffer, place) => {
        buffer[place] += weight;
      });
    }
    const largest = new Float32Array(SIZE * SIZE);
    const map = view.map;
    const size = (ZOOM * Math.max(...(map ? map.volume.step : [3]))) / 2;
    for (const [x, y, z, number] of map ? map.above : []) {
      const [right, , up] = turn(x - INSIDE[0], y - INSIDE[1], z - INSIDE[2]);
      stamp(largest, SIZE / 2 + ZOOM * right, SIZE / 2 - ZOOM * up, size, (buffer, place) => {
        if (Math.abs(number) > Math.abs(buffer[place])) buffer[place] = number;
      });
    }
    const image = new ImageData(SIZE, SIZE);
    for (let place = 0; place < shell.length; place += 1) {
      const glass = Math.min(175, 24 * shell[place]);
      const here = largest[place];
      const [table, first] = here ? colour(map, here) : [null, 0];
      for (let c = 0; c < 3; c += 1) {
        image.data[4 * place + c] = table ? 0.85 * table[first + c] + 0.15 * (255 - glass) : 255 - glass;
      }
      image.data[4 * place + 3] = 255;
    }
    const canvas = get("brain");
    canvas.width = SIZE;
    canvas.height = SIZE;
    const pen = canvas.getContext("2d");
    pen.putImageData(image, 0, 0);
    const [x, , up] = turn(...view.at.map((mm, axis) => mm - INSIDE[axis]));
    pen.strokeStyle = "#0b6e4f";
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(SIZE / 2 + ZOOM * x, SIZE / 2 - ZOOM * up, 7, 0, 2 * Math.PI);
    pen.stroke();
    pen.fillStyle = "#1f2933";
    pen.font = "bold 16px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (const [letter, mm] of [["L", [-84, -18, 8]], ["R", [84, -18, 8]], ["A", [0, 84, 8]], ["P", [0, -118, 8]]]) {
      const [right, , height] = turn(...mm.map((one, axis) => one - INSIDE[axis]));
      pen.fillText(letter, SIZE / 2 + 1.02 * ZOOM * right, SIZE / 2 - ZOOM * height);
    }
  };

  const drawBar = () => {
    const map = view.map;
    const image = new ImageData(256, 1);
    const table = map.signed ? scene.colours.signed : scene.colours.plain;
    for (let place = 0; place < 256; place += 1) image.data.set([...table.slice(3 * place, 3 * place + 3), 255], 4 * place);
    get("bar").getContext("2d").putImageData(image, 0, 0);
    get("low").textContent = map.signed ? (-map.limit).toPrecision(3) : "0";
    get("high").textContent = `${map.limit.toPrecision(3)} ${map.unit}`;
  };

  const collect = () => {
    const { volume } = view.map;
    const [nx, ny, nz] = volume.shape;
    view.map.above = [];
    for (let k = 0, place = 0; k < nz; k += 1) {
      for (let j = 0; j < ny; j += 1) {
        for (let i = 0; i < nx; i += 1, place += 1) {
          const number = value(view.map, volume.data[place]);
          if (number && Math.abs(number) >= view.threshold) {
            const mm = [i, j, k].map((one, axis) => volume.origin[axis] + volume.step[axis] * one);
            view.map.above.push([...mm, number]);
          }
        }
      }
    }
  };

  // ---- what is said, and when it is drawn ------------------------------------------------------------------------

  const say = () => {
    const map = view.map;
    const byte = code(map.volume, view.at);
    const label = scene.labels ? code(scene.labels, view.at) : 0;
    const where = scene.regions[label] ? `, ${scene.regions[label]}` : "";
    const what = byte ? `${Number(value(map, byte).toPrecision(3))}${map.unit ? ` ${map.unit}` : ""}` : "no value";
    get("readout").textContent = `${view.at.map(Math.round).join(", ")} mm${where}: ${what}`;
    "xyz".split("").forEach((name, axis) => {
      if (document.activeElement !== get(name)) get(name).value = Math.round(view.at[axis]);
    });
    get("shown").textContent = view.threshold.toPrecision(3);
    get("threshold").setAttribute("aria-valuetext", view.threshold.toPrecision(3));
    get("about").textContent = `${map.heading}: ${map.title}`;
    get("warning").hidden = !map.warning;
    get("warning").textContent = map.warning;
  };

  const draw = (parts) => {
    view.parts = { ...view.parts, ...parts };
    if (view.pending) return;
    view.pending = requestAnimationFrame(() => {
      const wanted = view.parts;
      view.pending = 0;
      view.parts = {};
      if (wanted.slices) {
        PLANES.forEach(drawSlice);
        say();
      }
      drawBrain();
      view.drawn += 1;
      get("panes").dataset.drawn = view.drawn;
      if (view.turning) {
        view.yaw += 0.025;
        draw({});
      }
    });
  };

  const move = (at) => {
    view.at = at.map((mm, axis) => Math.max(edges(axis)[0], Math.min(edges(axis)[1], mm)));
    draw({ slices: true });
  };

  const choose = async (place, at) => {
    const map = scene.maps[place];
    if (!map.volume.data) map.volume.data = await unpack(map.volume.bytes);
    get("map").value = place;
    view.map = map;
    get("threshold").max = map.limit;
    get("threshold").step = map.limit / 200;
    get("threshold").value = map.threshold;
    view.threshold = map.threshold;
    drawBar();
    collect();
    move(at || map.peak);
  };

  // ---- hands -----------------------------------------------------------------------------------------------------

  const drag = (canvas, start, act) => {
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      start(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) act(event);
    });
  };

  const keys = (canvas, actions) => {
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in actions) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      actions[event.key](event.shiftKey ? 5 : 1);
    });
  };

  const shift = (axis, mm) => move(view.at.map((one, place) => (place === axis ? one + mm : one)));

  const prepareSlice = (plane) => {
    const canvas = get(plane.name);
    const follow = (event) => {
      const box = canvas.getBoundingClientRect();
      const at = [...view.at];
      const [left, right] = edges(plane.across);
      const [bottom, top] = edges(plane.up);
      at[plane.across] = left + ((event.clientX - box.left) / box.width) * (right - left);
      at[plane.up] = top - ((event.clientY - box.top) / box.height) * (top - bottom);
      move(at);
    };
    drag(canvas, follow, follow);
    keys(canvas, {
      ArrowLeft: (mm) => shift(plane.across, -mm),
      ArrowRight: (mm) => shift(plane.across, mm),
      ArrowUp: (mm) => shift(plane.up, mm),
      ArrowDown: (mm) => shift(plane.up, -mm),
      PageUp: (mm) => shift(plane.axis, 3 * mm),
      PageDown: (mm) => shift(plane.axis, -3 * mm),
    });
  };

  const spin = (yaw, pitch) => {
    view.yaw += yaw;
    view.pitch = Math.max(-1.57, Math.min(1.57, view.pitch + pitch));
    draw({});
  };

  const prepareBrain = () => {
    let last = null;
    drag(
      get("brain"),
      (event) => {
        last = event;
      },
      (event) => {
        spin(0.01 * (event.clientX - last.clientX), 0.01 * (event.clientY - last.clientY));
        last = event;
      },
    );
    keys(get("brain"), {
      ArrowLeft: (times) => spin(-0.1 * times, 0),
      ArrowRight: (times) => spin(0.1 * times, 0),
      ArrowUp: (times) => spin(0, -0.1 * times),
      ArrowDown: (times) => spin(0, 0.1 * times),
    });
    get("turn").addEventListener("click", () => {
      view.turning = !view.turning;
      get("turn").setAttribute("aria-pressed", view.turning);
      draw({});
    });
  };

  const prepareControls = () => {
    const groups = new Map();
    scene.maps.forEach((map, place) => {
      if (!groups.has(map.heading)) {
        const group = document.createElement("optgroup");
        group.label = map.heading;
        groups.set(map.heading, group);
        get("map").append(group);
      }
      groups.get(map.heading).append(new Option(map.title, place));
    });
    get("map").addEventListener("change", () => choose(Number(get("map").value)));
    get("threshold").addEventListener("input", () => {
      view.threshold = Number(get("threshold").value);
      collect();
      draw({ slices: true });
    });
    "xyz".split("").forEach((name, axis) => {
      get(name).addEventListener("change", () => {
        const mm = Number(get(name).value);
        if (Number.isFinite(mm)) move(view.at.map((one, place) => (place === axis ? mm : one)));
      });
    });
    get("peak").addEventListener("click", () => move(view.map.peak));
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button.jump");
      if (!button) return;
      choose(Number(button.dataset.map), button.dataset.at.split(",").map(Number));
      document.getElementById("viewer").scrollIntoView({ block: "start" });
      get("axial").focus({ preventScroll: true });
    });
  };

  const start = async () => {
    for (const volume of [scene.template, scene.labels]) {
      if (volume) volume.data = await unpack(volume.bytes);
    }
    for (const name of ["points", "normals"]) {
      scene.surface[name] = new Int8Array((await unpack(scene.surface[name])).buffer);
    }
    PLANES.forEach(prepareSlice);
    prepareBrain();
    prepareControls();
    document.getElementById("viewer").hidden = false;
    for (const button of document.querySelectorAll("button.jump")) button.disabled = false;
    await choose(0);
  };

  if (typeof DecompressionStream === "undefined" || typeof OffscreenCanvas === "undefined") {
    document.getElementById("viewer-old").hidden = false;
  } else {
    start();
  }
})();
