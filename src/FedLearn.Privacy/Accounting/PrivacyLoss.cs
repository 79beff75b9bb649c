using System.Numerics;
using FedLearn.Privacy.Numerics;
using MathNet.Numerics.IntegralTransforms;

namespace FedLearn.Privacy;

/// <summary>Two-sided bounds on delta(epsilon) of composed Poisson-subsampled Gaussians, in one direction of add/remove.</summary>
/// <remarks>
/// <para>One step compares, in units of the noise deviation and with m = 1/sigma, the mixture (1 - q) N(0, 1) + q N(m, 1) with N(0, 1). Its loss
/// l(z) = log(1 - q + q e^(m z - m^2/2)) grows with z. Removing a record is the loss under the mixture, adding one is -l under N(0, 1); these two pairs
/// dominate every pair of neighbouring tables, also under adaptive composition (Zhu, Dong and Wang, arXiv 2106.08567, theorem 11).</para>
/// <para>Cut the z axis into the cells where l lies between j h and (j + 1) h. Of each cell take the exact masses p and q under both laws.
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
    /// <summary>Longest transform and most cells of a step: 2^21 complex numbers are 32 MB, and two such arrays are in use.</summary>
    private const int LongestTransform = 1 << 21, MostCells = 1 << 21;

    /// <summary>Probability, relative to delta, that is cut off on either end of all steps together.</summary>
    private const double CutShare = 1e-9;

    /// <summary>-log of the tilted probability that may fall out of the window of the transform on either side.</summary>
    private const double WindowExponent = 20;

    private readonly IReadOnlyList<SubsampledGaussian> _phases;
    private readonly bool _add;
    private readonly double _steps;
    private readonly (double[] Loss, double[] LogMass)[] _sketches;

    public PrivacyLoss(IReadOnlyList<SubsampledGaussian> phases, bool add)
    {
        (_phases, _add) = (phases, add);
        _steps = phases.Sum(phase => (double)phase.Steps);
        _sketches = [.. phases.Select(Sketch)];
    }

    /// <summary>Bounds on epsilon at a delta; the gap aims at 5e-5 and at 2e-4 of epsilon.</summary>
    public PldBounds Epsilon(double delta)
    {
        double logDelta = Math.Log(delta);
        double Renyi(double theta) => (Cumulant(theta) - logDelta - Math.Log(1 + theta)) / theta + Math.Log(theta / (1 + theta));
        double theta = Minimise(Renyi, 1e-6, 1e8), guess = Renyi(theta);
        if (guess <= 0)
            (theta, guess) = (0, 0);
        double target = Math.Max(1e-9, Math.Min(5e-5 * Math.Max(1, guess / 10), 2e-4 * guess)), h = FirstStep(theta, target);
        PldBounds best = new(0, 0, double.PositiveInfinity);
        for (int round = 0; round < 5; round++)
        {
            (Composition above, Composition below, h, bool finest) = Compose(h, theta, delta);
            double upper = above.EpsilonAbove(delta, guess), lower = below.EpsilonBelow(delta, upper);
            (upper, lower) = (Math.Min(upper, best.Upper), Math.Max(lower, best.Lower));
            // The variance of a loss spread evenly over its cell grows by h^2/6 above and falls by h^2/12 below.
            best = new(lower, lower + (upper - lower) / 3, upper);
            if (best.Upper - best.Lower <= target || finest)
                break;
            h *= Math.Clamp(0.8 * Math.Sqrt(target / (best.Upper - best.Lower)), 0.125, 0.7);
        }

        return best;
    }

    /// <summary>Bounds on delta at an epsilon.</summary>
    public PldBounds Delta(double epsilon)
    {
        double Chernoff(double tilt) => Cumulant(tilt) - tilt * epsilon;
        double theta = Minimise(Chernoff, 1e-6, 1e8);
        if (Chernoff(theta) >= 0)
            theta = 0;
        double scale = Math.Exp(Math.Max(-690, Chernoff(theta))), h = FirstStep(theta, 5e-5);
        PldBounds best = new(0, 0, 1);
        for (int round = 0; round < 5; round++)
        {
            (Composition above, Composition below, h, bool finest) = Compose(h, theta, scale);
            double upper = Math.Min(best.Upper, above.DeltaAbove(epsilon)), lower = Math.Min(upper, Math.Max(best.Lower, below.DeltaBelow(epsilon)));
            best = new(lower, lower + (upper - lower) / 3, upper);
            if (upper - lower <= 2e-4 * upper || finest)
                break;
            h *= Math.Clamp(0.8 * Math.Sqrt(2e-4 * upper / (upper - lower)), 0.125, 0.7);
        }

        return best;
    }

    /// <summary>A variance v more moves epsilon by v (theta + 1)/2; the two bounds are T h^2/4 apart in variance.</summary>
    private double FirstStep(double theta, double target) => Math.Sqrt(5 * target / (_steps * (theta + 1)));

    private (Composition Above, Composition Below, double Step, bool Finest) Compose(double h, double theta, double delta)
    {
        // Where Chernoff's bound puts 2e-9 of the tilted mass, from the sketch; the bound itself is taken on the lattice.
        double centre = Cumulant(theta);
        double Up(double lambda) => (Cumulant(theta + lambda) - centre + WindowExponent) / lambda;
        double Down(double lambda) => (Cumulant(theta - lambda) - centre + WindowExponent) / lambda;
        double up = Minimise(Up, 1e-6, 1e8), down = Minimise(Down, 1e-6, 1e8);
        double cut = Math.Log(delta) + Math.Log(CutShare / _steps), tail = Math.Sqrt(-2 * cut);
        double range = _phases.Max(phase => Loss(phase, 1 / phase.NoiseMultiplier + tail) - Loss(phase, -tail));
        double finest = Math.Max((Up(up) + Down(down)) * 1.001 / LongestTransform, range / MostCells);
        double step = Math.Max(h, finest);
        (double Origin, Cell[] Cells)[] grids = [.. _phases.Select(phase => Cells(phase, step, tail))];
        Composition Run(bool above) => new([.. _phases.Zip(grids, (phase, grid) =>
            (above ? Spread(grid.Origin, grid.Cells, step) : Contract(grid.Origin, grid.Cells, step, phase.Steps), phase.Steps))],
            step, theta, up, down, _steps * Math.Exp(cut));
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
        double m = 1 / phase.NoiseMultiplier, low = -38, high = m + 38, width = Math.Min(0.05, 0.3 / m);
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

    /// <summary>Where a function that falls and then grows is smallest, by golden section on a logarithmic scale.</summary>
    private static double Minimise(Func<double, double> function, double low, double high)
    {
        double golden = (Math.Sqrt(5) - 1) / 2, a = Math.Log(low), b = Math.Log(high);
        double x = b - golden * (b - a), y = a + golden * (b - a), fx = function(Math.Exp(x)), fy = function(Math.Exp(y));
        while (b - a > 1e-3)
        {
            if (fx <= fy)
            {
                (b, y, fy) = (y, x, fx);
                x = b - golden * (b - a);
                fx = function(Math.Exp(x));
            }
            else
            {
                (a, x, fx) = (x, y, fy);
                y = a + golden * (b - a);
                fy = function(Math.Exp(y));
            }
        }

        return Math.Exp((a + b) / 2);
    }

    /// <summary>Mass of the loss between two neighbouring points of the grid.</summary>
    /// <param name="Mass">Probability p under the first law, the one that the loss is drawn from.</param>
    /// <param name="Share">Share of p that goes to the upper end when the cell is split between its ends a and a + h such that the mass under the
    /// second law is kept, which is p e^-a (1 - Share (1 - e^-h)).</param>
    private readonly record struct Cell(double Mass, double Share);

    /// <summary>Cells in order of the loss, the first one starting at Origin; the tails of z beyond <paramref name="tail"/> are left out.</summary>
    /// <remarks>The grid starts at the smallest loss of removing a record, so that the edge where its mass piles up is that of a cell.</remarks>
    private (double Origin, Cell[] Cells) Cells(SubsampledGaussian phase, double h, double tail)
    {
        double m = 1 / phase.NoiseMultiplier, q = phase.SamplingRate, end = m + tail, unit = -Elementary.ExpM1(-h), origin = Loss(phase, -tail);
        var cells = new Cell[(int)Math.Ceiling((Loss(phase, end) - origin) / h)];
        double left = -tail;
        for (int index = 0; index < cells.Length; index++)
        {
            double right = index == cells.Length - 1 ? end : Math.Clamp(Inverse(phase, origin + (index + 1) * h), left, end);
            // r = e^l is the ratio of the two densities; the share is the mean of r - r(left) over that of r, in units of 1 - e^-h.
            double scale = q * Math.Exp(m * left - m * m / 2);
            int panels = Math.Max(1, (int)Math.Ceiling((right - left) * (Math.Max(Math.Abs(left), Math.Abs(right)) + m) * 2));
            double width = (right - left) / panels, mixture = 0, plain = 0, rise = 0;
            for (int panel = 0; panel < panels; panel++)
                foreach ((double node, double weight) in Gauss)
                {
                    double step = (panel + node) * width, z = left + step, density = weight * width * Math.Exp(-z * z / 2), growth = scale * Elementary.ExpM1(m * step);
                    plain += density;
                    mixture += density * (1 - q + scale + growth);
                    rise += density * growth;
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
    /// plus the relative errors of the power and of the transform back times the norm of the result.
    /// </remarks>
    internal sealed class Composition
    {
        private readonly double _h, _theta, _first, _logTotal, _error, _cut, _steps;

        /// <summary>Sums over all points from one on of tilted mass times e^(-theta s) and e^(-(theta+1) s), relative to the window's reference point.</summary>
        private readonly double[] _sum, _sumInverse;
        private readonly double _reference;

        public Composition(IReadOnlyList<(Lattice Lattice, int Steps)> phases, double h, double theta, double up, double down, double cut)
        {
            (_h, _theta, _cut) = (h, theta, cut);
            _steps = phases.Sum(phase => (double)phase.Steps);
            double Cumulant(double tilt) => phases.Sum(phase => phase.Steps * phase.Lattice.LogMoment(tilt));
            _logTotal = Cumulant(theta);
            double top = (Cumulant(theta + up) - _logTotal + WindowExponent) / up, bottom = -(Cumulant(theta - down) - _logTotal + WindowExponent) / down;
            double origin = phases.Sum(phase => phase.Steps * phase.Lattice.Origin);
            long first = (long)Math.Floor((bottom - origin) / h);
            int size = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Clamp(Math.Ceiling((top - bottom) / h) + 2, 16, 2 * LongestTransform));
            double kappa = 2e-15 * BitOperations.Log2((uint)size), stepError = 0, growth = 0;

            Complex[] product = new Complex[size], transform = new Complex[size];
            for (int phase = 0; phase < phases.Count; phase++)
            {
                (Lattice lattice, int steps) = phases[phase];
                Complex[] one = phase == 0 ? product : transform;
                Array.Clear(one);
                double logMoment = lattice.LogMoment(theta);
                for (int i = 0; i < lattice.LogMass.Length; i++)
                    one[i & (size - 1)] += Math.Exp(lattice.LogMass[i] + theta * (lattice.Origin + i * h) - logMoment);
                double norm = Math.Sqrt(one.Sum(value => value.Real * value.Real));
                stepError += steps * kappa * norm;
                growth += steps * kappa * norm * Math.Sqrt(size);
                Fourier.Forward(one, FourierOptions.NoScaling);
                for (int i = 0; i < size; i++)
                    product[i] = phase == 0 ? Power(one[i], steps) : product[i] * Power(one[i], steps);
            }

            Fourier.Inverse(product, FourierOptions.AsymmetricScaling);
            double result = Math.Sqrt(product.Sum(value => value.Real * value.Real + value.Imaginary * value.Imaginary));
            double distance = stepError * Math.Exp(growth) + (kappa + 1e-15 * _steps) * result;
            double weight = Math.Sqrt(theta == 0 ? size : Math.Min(size, 1 + 2 / (2 * theta * (2 * theta + 1) * (2 * theta + 2)) / h));
            _error = 2 * Math.Exp(-WindowExponent) / (1 + theta) + weight * distance;

            // The reference is the tilted mean or so; far below it e^(-theta s) overflows, and no epsilon there is asked for.
            _first = origin + first * h;
            _reference = (top + bottom) / 2;
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
            (double value, double error) = Evaluate(epsilon);
            double delta = (value + error) * (1 + 1e-13 * _steps) + _cut;
            return delta <= 1 ? delta : 1;
        }

        /// <summary>Lower bound on delta.</summary>
        public double DeltaBelow(double epsilon)
        {
            (double value, double error) = Evaluate(epsilon);
            double delta = (value - error) * (1 - 1e-13 * _steps) - _cut;
            return delta >= 0 ? delta : 0;
        }

        /// <summary>An epsilon at which the upper bound does not exceed delta, close to the smallest; infinity if there is none.</summary>
        public double EpsilonAbove(double delta, double guess)
        {
            if (DeltaAbove(0) <= delta)
                return 0;
            double right = guess;
            for (int i = 0; DeltaAbove(right) > delta; i++, right *= 1.01)
                if (i == 200)
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
            double scale = Math.Exp(_logTotal - _theta * _reference), value = scale * (_sum[index] - Math.Exp(epsilon - _reference) * _sumInverse[index]);
            return (value, Math.Exp(_logTotal - _theta * epsilon) * _error);
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
