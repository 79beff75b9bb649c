using System.Numerics;
using FedLearn.Privacy.Numerics;
using MathNet.Numerics.IntegralTransforms;

namespace FedLearn.Privacy;

/// <summary>Two-sided bounds on delta(epsilon) of composed Poisson-subsampled Gaussians, in one direction of add/remove.</summary>
/// <remarks>
/// <para>One step compares, in units of the noise deviation and with m = 1/sigma, the mixture (1 - q) N(0, 1) + q N(m, 1) with N(0, 1). Its loss
/// l(z) = log(1 - q + q e^(m z - m^2/2)) grows with z. Removing a record is the loss under the mixture, adding one is -l under N(0, 1); these two pairs
/// dominate every pair of neighbouring tables, also under adaptive composition (Zhu, Dong and Wang, arXiv 2106.08567, theorem 11).</para>
/// <para>Cut the z axis into cells over each of which l grows by h. Of each cell take the exact masses p and q under both laws.
/// <b>Above:</b> split the cell between its two ends such that both masses are kept: the curve of the result connects the dots of the true curve
/// at the grid and so lies above it (Doroshenko, Ghazi, Kamath, Kumar and Manurangsi, arXiv 2207.04380). <b>Below:</b> forget where in the cell z was
/// (a post-processing), then mix the cell with a share of its neighbour so that the loss of the mixture, log(p/q), is the cell's centre exactly (again a
/// post-processing); what cannot be mixed is moved to a smaller loss. Both move the variance of the loss by a multiple of h^2, so the gap between the
/// bounds falls with h^2, where a coupling of rounded losses (Gopi, Lee and Wutschitz, arXiv 2106.02848) has a gap of order h.</para>
/// <para>The T-fold convolution is a power in the Fourier domain, after tilting the masses by e^(theta l), which puts their centre near the wanted epsilon.
/// Round-off, the wrap-around of the transform and the cut tails are then small relative to delta itself, whatever delta is; all three are bounded and
/// charged against the answer (see <see cref="Composition"/>).</para>
/// </remarks>
internal sealed class PrivacyLoss
{
    /// <summary>Longest transform, as planned, and most cells of a step: 2^21 complex numbers are 32 MB, and two such arrays are in use.</summary>
    private const int LongestTransform = 1 << 21, MostCells = 1 << 21;

    /// <summary>Probability, relative to delta, that is cut off on either end of all steps together.</summary>
    private const double CutShare = 1e-8;

    /// <summary>-log of the tilted probability that may fall out of the window of the transform on either side.</summary>
    private const double WindowExponent = 20;

    /// <summary>Rounds of refining the grid, and the relative gap of delta that they aim at.</summary>
    private const int Rounds = 6;
    private const double DeltaGap = 5e-4;

    private readonly IReadOnlyList<SubsampledGaussian> _phases;
    private readonly bool _add;
    private readonly double _steps;

    /// <summary>The z axis is cut at -_tail and m + _tail, at a probability of _cut in all steps together.</summary>
    private double _tail, _cut;
    private (double[] Loss, double[] LogMass)[] _sketches = [];

    public PrivacyLoss(IReadOnlyList<SubsampledGaussian> phases, bool add)
    {
        (_phases, _add) = (phases, add);
        _steps = phases.Sum(phase => (double)phase.Steps);
    }

    /// <summary>Bounds on epsilon at a delta. The gap aims at 5e-5, or 5e-6 of epsilon where that is more, and at 2e-4 of a small epsilon.</summary>
    /// <param name="delta">Delta.</param>
    /// <param name="most">An upper bound that is known already.</param>
    public PldBounds Epsilon(double delta, double most)
    {
        CutFor(delta);
        double logDelta = Math.Log(delta);
        double Renyi(double tilt) => (Cumulant(tilt) - logDelta - Math.Log(1 + tilt)) / tilt + Math.Log(tilt / (1 + tilt));
        double theta = Minimise(Renyi), guess = Renyi(theta);
        if (guess <= 0)
            (theta, guess) = (0, 0);
        double target = Math.Max(1e-9, Math.Min(5e-5 * Math.Max(1, guess / 10), 2e-4 * guess)), h = FirstStep(theta, target);
        var best = new PldBounds(0, 0, most);
        for (int round = 0; round < Rounds; round++)
        {
            (Composition above, Composition below, h, bool finest) = Compose(h, theta);
            double upper = Math.Min(best.Upper, above.EpsilonAbove(delta, guess)), lower = Math.Max(best.Lower, below.EpsilonBelow(delta, upper));
            best = Between(lower, upper);
            if (finest || !(upper - lower > target))
                break;
            h *= Math.Clamp(0.8 * Math.Sqrt(target / (upper - lower)), 0.125, 0.7);
        }

        return best;
    }

    /// <summary>Bounds on delta at an epsilon; the gap aims at 5e-4 of delta.</summary>
    public PldBounds Delta(double epsilon)
    {
        double Chernoff(double tilt) => Cumulant(tilt) - tilt * epsilon;
        var best = new PldBounds(0, 0, 1);
        double h = double.PositiveInfinity;
        CutFor(1e-100);
        for (int round = 0; round < Rounds; round++)
        {
            // What may be cut depends on delta, and the best tilt on what is cut: both follow as delta becomes known.
            double theta = Minimise(Chernoff);
            CutFor(Math.Max(1e-200, Math.Min(best.Upper, Math.Exp(Chernoff(theta)))));
            theta = Minimise(Chernoff);
            if (Chernoff(theta) >= 0)
                theta = 0;
            (Composition above, Composition below, h, bool finest) = Compose(Math.Min(h, FirstStep(theta, 5e-5)), theta);
            double upper = Math.Min(best.Upper, above.DeltaAbove(epsilon)), lower = Math.Max(best.Lower, below.DeltaBelow(epsilon));
            best = Between(lower, upper);
            if ((finest && round > 1) || upper - lower <= DeltaGap * upper)
                break;
            h *= Math.Clamp(0.8 * Math.Sqrt(DeltaGap * upper / (upper - lower)), 0.125, 0.7);
        }

        return best;
    }

    /// <summary>The variance of a loss spread evenly over its cell grows by h^2/6 above and falls by h^2/12 below.</summary>
    private static PldBounds Between(double lower, double upper) => new(lower, lower + (upper - lower) / 3, upper);

    /// <summary>Chooses where to cut the z axis, so that the tails of all steps have CutShare of this delta.</summary>
    private void CutFor(double delta)
    {
        // Phi(-x) is at most e^(-x^2/2)/2, and there are two tails a step.
        _cut = CutShare * delta;
        _tail = Math.Sqrt(-2 * (Math.Log(CutShare) + Math.Log(delta) - Math.Log(_steps)));
        _sketches = [.. _phases.Select(Sketch)];
    }

    /// <summary>A variance v more moves epsilon by v (theta + 1)/2; the two bounds are T h^2/4 apart in variance.</summary>
    private double FirstStep(double theta, double target) => Math.Sqrt(5 * target / (_steps * (theta + 1)));

    private (Composition Above, Composition Below, double Step, bool Finest) Compose(double h, double theta)
    {
        // Where Chernoff's bound puts 2e-9 of the tilted mass, by the sketch; the bound that counts is taken on the lattice.
        double centre = Cumulant(theta);
        double Up(double lambda) => (Cumulant(theta + lambda) - centre + WindowExponent) / lambda;
        double Down(double lambda) => (Cumulant(theta - lambda) - centre + WindowExponent) / lambda;
        double up = Minimise(Up), down = Minimise(Down);
        double range = _phases.Max(phase => Loss(phase, 1 / phase.NoiseMultiplier + _tail) - Loss(phase, -_tail));
        double finest = Math.Max((Up(up) + Down(down)) * 1.001 / LongestTransform, range / MostCells);
        double step = Math.Max(h, finest);
        (double Origin, Cell[] Cells)[] grids = [.. _phases.Select(phase => Cells(phase, step))];
        Composition Run(bool above) => new([.. _phases.Zip(grids, (phase, grid) =>
            (above ? Spread(grid.Origin, grid.Cells, step) : Contract(grid.Origin, grid.Cells, step, phase.Steps), phase.Steps))],
            step, theta, up, down, _cut);
        return (Run(true), Run(false), step, step == finest);
    }

    /// <summary>Loss of removing a record at z.</summary>
    private static double Loss(SubsampledGaussian phase, double z)
    {
        double m = 1 / phase.NoiseMultiplier, exponent = m * z - m * m / 2;
        return phase.SamplingRate == 1 ? exponent
            : exponent > 30 ? exponent + Math.Log(phase.SamplingRate) + Elementary.LogP1((1 - phase.SamplingRate) / phase.SamplingRate * Math.Exp(-exponent))
            : Elementary.LogP1(phase.SamplingRate * Elementary.ExpM1(exponent));
    }

    /// <summary>The z at which the loss of removing a record is <paramref name="loss"/>; negative infinity where it is never as small.</summary>
    private static double Inverse(SubsampledGaussian phase, double loss)
    {
        double m = 1 / phase.NoiseMultiplier, q = phase.SamplingRate;
        if (q == 1)
            return loss / m + m / 2;
        double excess = Elementary.ExpM1(loss) / q;
        return excess <= -1 ? double.NegativeInfinity : loss > 30
            ? (loss - Math.Log(q) + Elementary.LogP1(-(1 - q) * Math.Exp(-loss))) / m + m / 2
            : Elementary.LogP1(excess) / m + m / 2;
    }

    /// <summary>Loss and log mass on a coarse grid of z, to choose the tilt and the window by. No bound depends on it.</summary>
    private (double[] Loss, double[] LogMass) Sketch(SubsampledGaussian phase)
    {
        double m = 1 / phase.NoiseMultiplier, low = -_tail, high = m + _tail, width = Math.Min(0.05, 0.3 / m);
        int count = (int)((high - low) / width) + 1;
        double[] losses = new double[count], masses = new double[count];
        for (int i = 0; i < count; i++)
        {
            double z = low + i * width, loss = Loss(phase, z), density = Math.Log(width) - z * z / 2 - Math.Log(2 * Math.PI) / 2;
            (losses[i], masses[i]) = _add ? (-loss, density) : (loss, density + loss);
        }

        return (losses, masses);
    }

    /// <summary>Log of E[e^(theta S)] for the loss S of all steps, from the sketch.</summary>
    private double Cumulant(double theta)
    {
        double sum = 0;
        for (int phase = 0; phase < _phases.Count; phase++)
        {
            (double[] loss, double[] mass) = _sketches[phase];
            double most = double.NegativeInfinity, moment = 0;
            for (int i = 0; i < loss.Length; i++)
                most = Math.Max(most, mass[i] + theta * loss[i]);
            for (int i = 0; i < loss.Length; i++)
                moment += Math.Exp(mass[i] + theta * loss[i] - most);
            sum += _phases[phase].Steps * (most + Math.Log(moment));
        }

        return sum;
    }

    /// <summary>log sum_i e^(logMass_i + tilt loss_i) for equally spaced losses.</summary>
    private static double LogSumExp(ReadOnlySpan<double> logMass, double origin, double h, double tilt)
    {
        double most = double.NegativeInfinity, sum = 0;
        for (int i = 0; i < logMass.Length; i++)
            most = Math.Max(most, logMass[i] + tilt * (origin + i * h));
        for (int i = 0; i < logMass.Length; i++)
            sum += Math.Exp(logMass[i] + tilt * (origin + i * h) - most);
        return most + Math.Log(sum);
    }

    private static double Minimise(Func<double, double> function) => Minimum.Golden(function, 1e-6, 1e8, 1e-3);

    /// <summary>Mass of the loss between two neighbouring points of the grid.</summary>
    /// <param name="Mass">Probability p under the first law, the one that the loss is drawn from.</param>
    /// <param name="Share">Share of p that goes to the upper end when the cell is split between its ends a and a + h such that the mass under the
    /// second law is kept, which is p e^-a (1 - Share (1 - e^-h)).</param>
    private readonly record struct Cell(double Mass, double Share);

    /// <summary>Cells in order of the loss, the first one starting at Origin; the tails of z are left out.</summary>
    /// <remarks>The grid starts at the smallest loss of removing a record, so that the edge where its mass piles up is that of a cell.</remarks>
    private (double Origin, Cell[] Cells) Cells(SubsampledGaussian phase, double h)
    {
        double m = 1 / phase.NoiseMultiplier, q = phase.SamplingRate, end = m + _tail, unit = -Elementary.ExpM1(-h), origin = Loss(phase, -_tail);
        var cells = new Cell[(int)Math.Ceiling((Loss(phase, end) - origin) / h)];
        double left = -_tail;
        for (int index = 0; index < cells.Length; index++)
        {
            double right = index == cells.Length - 1 ? end : Math.Clamp(Inverse(phase, origin + (index + 1) * h), left, end);
            // r = e^l is the ratio of the two densities; the share is the mean of r - r(left) over that of r, in units of 1 - e^-h.
            // Beyond z = 37 exponents are added before the exponential is taken, since the density alone underflows.
            double atLeft = m * left - m * m / 2, ratio = end < 37 ? q * Math.Exp(atLeft) : double.NaN;
            int panels = Math.Max(1, (int)Math.Ceiling((right - left) * (Math.Max(Math.Abs(left), Math.Abs(right)) + m) * 2));
            double width = (right - left) / panels, mixture = 0, plain = 0, rise = 0;
            for (int panel = 0; panel < panels; panel++)
                foreach ((double node, double weight) in Gauss)
                {
                    double step = (panel + node) * width, z = left + step, area = weight * width;
                    double density = area * Math.Exp(-z * z / 2), scaled = end < 37 ? ratio * density : q * area * Math.Exp(atLeft - z * z / 2), growth = scaled * Elementary.ExpM1(m * step);
                    plain += density;
                    mixture += (1 - q) * density + scaled + growth;
                    rise += growth;
                }

            double share = mixture > 0 ? Math.Clamp(rise / (mixture * unit), 0, 1) : 0;
            cells[_add ? cells.Length - 1 - index : index] = _add ? new(plain, (1 - share) / (1 - share * unit)) : new(mixture, share);
            left = right;
        }

        return (_add ? -(origin + cells.Length * h) : origin, cells);
    }

    /// <summary>Nodes and weights of Gauss-Legendre quadrature of order 5 on [0, 1], over the root of 2 pi. On a panel over which the logarithm
    /// of the integrand moves by at most 1/2 its relative error is below 1e-15.</summary>
    private static readonly (double Node, double Weight)[] Gauss = [.. new[]
    {
        (0.5, 128.0 / 225),
        ((1 - Math.Sqrt(5 - 2 * Math.Sqrt(10.0 / 7)) / 3) / 2, (322 + 13 * Math.Sqrt(70)) / 900),
        ((1 + Math.Sqrt(5 - 2 * Math.Sqrt(10.0 / 7)) / 3) / 2, (322 + 13 * Math.Sqrt(70)) / 900),
        ((1 - Math.Sqrt(5 + 2 * Math.Sqrt(10.0 / 7)) / 3) / 2, (322 - 13 * Math.Sqrt(70)) / 900),
        ((1 + Math.Sqrt(5 + 2 * Math.Sqrt(10.0 / 7)) / 3) / 2, (322 - 13 * Math.Sqrt(70)) / 900),
    }.Select(rule => (rule.Item1, rule.Item2 / 2 / Math.Sqrt(2 * Math.PI)))];

    /// <summary>Connect-the-dots: each cell split between its ends, both masses kept.</summary>
    private static Lattice Spread(double origin, Cell[] cells, double h)
    {
        var mass = new double[cells.Length + 1];
        for (int i = 0; i < cells.Length; i++)
        {
            mass[i] += cells[i].Mass * (1 - cells[i].Share);
            mass[i + 1] += cells[i].Mass * cells[i].Share;
        }

        return new(origin, h, mass);
    }

    /// <summary>Cells gathered at their centres by mixing neighbours; what does not mix is moved down.</summary>
    private static Lattice Contract(double origin, Cell[] cells, double h, int steps)
    {
        double unit = -Elementary.ExpM1(-h);
        int count = cells.Length;
        // Loss of the whole cell less its centre, and the share of the cell that a neighbour has taken.
        double[] off = [.. cells.Select(cell => -Elementary.LogP1(-cell.Share * unit) - h / 2)], taken = new double[count];
        // At an edge with much mass there is no neighbour to mix with on one side, so the grid is shifted to suit it.
        int edge = cells[0].Mass >= cells[^1].Mass ? 0 : count - 1;
        double shift = steps * h * cells[edge].Mass > 1e-9 ? off[edge] : 0;
        for (int i = 0; i < count; i++)
            off[i] -= shift;
        // A lattice point for each cell and one below the first.
        double[] mass = new double[count + 1];

        // p - e^(centre of k) q of cell i, over its p.
        double Surplus(int i, int k) => -Elementary.ExpM1((k - i) * h - off[i]);

        for (int i = 0; i < count; i++)
            if (off[i] < 0)
            {
                double own = cells[i].Mass * (1 - taken[i]), needed = -own * Surplus(i, i);
                double there = i + 1 < count ? cells[i + 1].Mass * Surplus(i + 1, i) : 0;
                if (there > 0 && needed <= there)
                {
                    taken[i + 1] = needed / there;
                    mass[i + 1] += own + taken[i + 1] * cells[i + 1].Mass;
                }
                else
                {
                    mass[i] += own;
                }
            }

        for (int i = count - 1; i >= 0; i--)
            if (off[i] >= 0)
            {
                double own = cells[i].Mass * (1 - taken[i]), needed = own * Surplus(i, i);
                double there = i > 0 && off[i - 1] >= 0 ? -cells[i - 1].Mass * Surplus(i - 1, i) : 0;
                double share = there > 0 ? Math.Min(needed / there, 1 - taken[i - 1]) : 0;
                if (share > 0)
                    taken[i - 1] += share;
                mass[i + 1] += own + (share > 0 ? share * cells[i - 1].Mass : 0);
            }

        return new(origin + shift - h / 2, h, mass);
    }

    /// <summary>Masses at the losses Origin + i h.</summary>
    internal sealed class Lattice
    {
        private readonly double _h;

        /// <summary>Takes the masses.</summary>
        public Lattice(double origin, double h, double[] mass)
        {
            (Origin, _h, LogMass) = (origin, h, mass);
            for (int i = 0; i < mass.Length; i++)
                LogMass[i] = Math.Log(mass[i]);
        }

        /// <summary>Loss of the first mass.</summary>
        public double Origin { get; }

        /// <summary>Logarithms of the masses; negative infinity for 0.</summary>
        public double[] LogMass { get; }

        /// <summary>Log of the sum of mass times e^(tilt loss).</summary>
        public double LogMoment(double tilt) => LogSumExp(LogMass, Origin, _h, tilt);
    }

    /// <summary>delta of the composed lattices, for every epsilon.</summary>
    /// <remarks>
    /// With M the tilted total and w(s) = e^(-theta (s - epsilon)) (1 - e^(epsilon - s)) for s above epsilon, delta = M e^(-theta epsilon) sum tilted(s) w(s).
    /// In units of M e^(-theta epsilon) the errors are at most: max w times the tilted mass outside the window (Chernoff's bound, taken on the lattice); and
    /// |w| |e|, where e is the error of the T-fold convolution in the Euclidean norm. With the bound kappa of Higham 2002, theorem 24.2, on the
    /// relative error of a transform, |e| is at most kappa T |x| (1 + kappa |X|)^T for the transform X of the masses x of one step,
    /// plus the relative errors of the power and of the transform back times the norm of the result. Besides, a relative 1e-13 a step is charged for
    /// the masses, and rounding of sums and of the origin as written below.
    /// </remarks>
    internal sealed class Composition
    {
        private readonly double _h, _theta, _first, _logTotal, _error, _cut, _relative, _shift;

        /// <summary>Sums over all points from one on of tilted mass times e^(-theta s) and e^(-(theta+1) s), relative to the window's reference point.</summary>
        private readonly double[] _sum, _sumInverse;
        private readonly double _reference;

        public Composition(IReadOnlyList<(Lattice Lattice, int Steps)> phases, double h, double theta, double up, double down, double cut)
        {
            (_h, _theta, _cut) = (h, theta, cut);
            double steps = phases.Sum(phase => (double)phase.Steps);
            double Cumulant(double tilt) => phases.Sum(phase => phase.Steps * phase.Lattice.LogMoment(tilt));
            _logTotal = Cumulant(theta);
            double top = (Cumulant(theta + up) - _logTotal + WindowExponent) / up, bottom = -(Cumulant(theta - down) - _logTotal + WindowExponent) / down;
            double origin = phases.Sum(phase => phase.Steps * phase.Lattice.Origin);
            // A window that would not fit makes both bounds vacuous; so does any number that is not one.
            bool fits = (top - bottom) / h + 2 <= 2 * LongestTransform && Math.Abs((bottom - origin) / h) < 1e15;
            long first = fits ? (long)Math.Floor((bottom - origin) / h) : 0;
            int size = !fits ? 16 : (int)BitOperations.RoundUpToPowerOf2((uint)Math.Clamp(Math.Ceiling((top - bottom) / h) + 2, 16, 2 * LongestTransform));
            double kappa = 2e-15 * BitOperations.Log2((uint)size), stepError = 0, growth = 0;

            Complex[] product = new Complex[size], transform = new Complex[size];
            for (int phase = 0; phase < phases.Count; phase++)
            {
                (Lattice lattice, int count) = phases[phase];
                Complex[] one = phase == 0 ? product : transform;
                Array.Clear(one);
                double logMoment = lattice.LogMoment(theta);
                for (int i = 0; i < lattice.LogMass.Length; i++)
                    one[i & (size - 1)] += Math.Exp(lattice.LogMass[i] + theta * (lattice.Origin + i * h) - logMoment);
                double norm = Math.Sqrt(one.Sum(value => value.Real * value.Real));
                stepError += count * kappa * norm;
                growth += count * kappa * norm * Math.Sqrt(size);
                Fourier.Forward(one, FourierOptions.NoScaling);
                // The masses are real, so one half of the transform is the conjugate of the other.
                for (int i = 0; i <= size / 2; i++)
                    product[i] = phase == 0 ? Power(one[i], count) : product[i] * Power(one[i], count);
                for (int i = size / 2 + 1; i < size; i++)
                    product[i] = Complex.Conjugate(product[size - i]);
            }

            Fourier.Inverse(product, FourierOptions.AsymmetricScaling);
            double result = Math.Sqrt(product.Sum(value => value.Real * value.Real + value.Imaginary * value.Imaginary));
            double distance = stepError * Math.Exp(growth) + (kappa + 1e-15 * steps) * result;
            double weight = Math.Sqrt(theta == 0 ? size : Math.Min(size, 1 + 2 / (2 * theta * (2 * theta + 1) * (2 * theta + 2)) / h));
            _error = fits ? 2 * Math.Exp(-WindowExponent) / (1 + theta) + weight * distance : double.PositiveInfinity;

            // The reference is the tilted mean or so; far below it e^(-theta s) overflows, and no epsilon there is asked for.
            _first = origin + first * h;
            _reference = (top + bottom) / 2;
            _relative = 1e-13 * steps + 1e-15 * (Math.Abs(_logTotal) + theta * Math.Abs(_reference));
            _shift = 1e-15 * (Math.Abs(origin) + Math.Abs(first) * h);
            _sum = new double[size + 1];
            _sumInverse = new double[size + 1];
            for (int i = size - 1; i >= 0; i--)
            {
                double above = _first + i * h - _reference, mass = product[(int)(first + i & (size - 1))].Real * Math.Exp(-theta * above);
                _sum[i] = _sum[i + 1] + mass;
                _sumInverse[i] = _sumInverse[i + 1] + mass * Math.Exp(-above);
            }
        }

        /// <summary>Upper bound on delta.</summary>
        public double DeltaAbove(double epsilon)
        {
            (double value, double error) = Evaluate(epsilon - _shift);
            double delta = (value + error) * (1 + _relative) + _cut;
            return delta <= 1 ? delta : 1;
        }

        /// <summary>Lower bound on delta.</summary>
        public double DeltaBelow(double epsilon)
        {
            (double value, double error) = Evaluate(epsilon + _shift);
            double delta = (value - error) * (1 - Math.Min(1, _relative)) - _cut;
            return delta >= 0 ? delta : 0;
        }

        /// <summary>An epsilon at which the upper bound does not exceed delta, close to the smallest; infinity if there is none.</summary>
        public double EpsilonAbove(double delta, double guess)
        {
            if (DeltaAbove(0) <= delta)
                return 0;
            double right = Math.Max(guess, 1e-6);
            for (int i = 0; DeltaAbove(right) > delta; i++, right *= 1.03)
                if (i == 400)
                    return double.PositiveInfinity;
            return Bisect(0, right, epsilon => DeltaAbove(epsilon) > delta).Right;
        }

        /// <summary>An epsilon at which the lower bound exceeds delta, close to the largest; 0 if none is found below <paramref name="upper"/>.</summary>
        public double EpsilonBelow(double delta, double upper)
        {
            // The bound is good near the tilted mean only, so the search comes down from the upper bound and does not start at 0.
            double right = upper;
            for (double step = 1e-9 * upper; step > 0 && step < upper; step *= 2)
            {
                if (DeltaBelow(upper - step) > delta)
                    return Bisect(upper - step, right, epsilon => DeltaBelow(epsilon) > delta).Left;
                right = upper - step;
            }

            return 0;
        }

        private static (double Left, double Right) Bisect(double left, double right, Func<double, bool> above)
        {
            while (right - left > 1e-12 * right)
            {
                double middle = left + (right - left) / 2;
                if (above(middle))
                    left = middle;
                else
                    right = middle;
            }

            return (left, right);
        }

        private (double Value, double Error) Evaluate(double epsilon)
        {
            int index = (int)Math.Clamp(Math.Floor((epsilon - _first) / _h) + 1, 0, _sum.Length - 1);
            double scale = Math.Exp(_logTotal - _theta * _reference), some = scale * _sum[index], less = scale * Math.Exp(epsilon - _reference) * _sumInverse[index];
            // The last term bounds the rounding of the two sums, which cancel in part.
            return (some - less, Math.Exp(_logTotal - _theta * epsilon) * _error + 2.3e-16 * (_sum.Length + 1000) * (Math.Abs(some) + Math.Abs(less)));
        }

        private static Complex Power(Complex value, int exponent)
        {
            Complex result = Complex.One;
            for (; exponent > 0; exponent >>= 1, value *= value)
                if ((exponent & 1) == 1)
                    result *= value;
            return result;
        }
    }
}
