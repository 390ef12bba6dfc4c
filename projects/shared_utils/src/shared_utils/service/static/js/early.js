// Runs before the first paint, so that a chosen theme does not flash the other one first.
try {
  const root = document.documentElement;
  const value = JSON.parse(localStorage.getItem(`${root.dataset.app}.theme`) ?? '"auto"');
  if (value === "dark" || value === "light") root.dataset.theme = value;
} catch {
  // A browser that keeps nothing shows the system's theme.
}
