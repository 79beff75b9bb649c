namespace FedLearn.Dssm;

/// <summary>A sub-model that maps the rows of one view, or the items, to vectors of a common width (DSSM, Huang et al. 2013).</summary>
/// <remarks>Numbers cross this contract in float64, whatever the tower computes in. Matrices are row-major. A tower is used by one thread at a time. The same calls
/// in the same order give the same bits on the same machine with the same number of threads. Wrong lengths, rows that are not there and numbers that are not finite are an
/// <see cref="ArgumentException"/>, calls before the evaluation or the gradient that they need an <see cref="InvalidOperationException"/>; the tower stays usable.</remarks>
public interface ITower : IDisposable
{
    /// <summary>What a row has.</summary>
    TowerInputs Inputs { get; }

    /// <summary>Width k of the vectors it gives.</summary>
    int Width { get; }

    /// <summary>Number of trained parameters.</summary>
    int ParameterCount { get; }

    /// <summary>Evaluates rows.</summary>
    /// <param name="rows">The rows to choose from.</param>
    /// <param name="index">Which of them, in this order; -1 stands for an absent row, whose vector is 0 and which has no gradient.</param>
    /// <param name="output">Receives the vectors, index.Length x <see cref="Width"/>.</param>
    /// <param name="training">Whether dropout acts and the evaluation is kept for one of the gradients below.</param>
    void Forward(TowerRows rows, ReadOnlySpan<int> index, Span<double> output, bool training);

    /// <summary>Finds the gradient of all parameters for the last training evaluation, and keeps it for <see cref="Step()"/>.</summary>
    /// <param name="upstream">dL/dy of every row of that evaluation, of the size of its output.</param>
    void Backward(ReadOnlySpan<double> upstream);

    /// <summary>Copies the gradient that <see cref="Backward"/> found.</summary>
    /// <param name="destination">Receives <see cref="ParameterCount"/> numbers, in the order of <see cref="GetParameters"/>.</param>
    void GetGradient(Span<double> destination);

    /// <summary>Squared L2 norm of every row's own gradient of all parameters together, for the last training evaluation.</summary>
    /// <param name="upstream">dL/dy of every row.</param>
    /// <param name="squaredNorms">Receives one number a row; 0 for an absent row.</param>
    void RowGradientNorms(ReadOnlySpan<double> upstream, Span<double> squaredNorms);

    /// <summary>Weighted sum of the rows' own gradients of the last call of <see cref="RowGradientNorms"/>, in float64 and in fixed order.</summary>
    /// <param name="rowWeights">One factor a row, such as min(1, G/norm).</param>
    /// <param name="sum">Receives <see cref="ParameterCount"/> numbers.</param>
    void WeightedRowGradients(ReadOnlySpan<double> rowWeights, Span<double> sum);

    /// <summary>One step of the optimiser with the gradient that <see cref="Backward"/> found; <see cref="ParameterOptimizer"/> is one for parameters in an array.</summary>
    void Step();

    /// <summary>One step of the optimiser with a gradient from outside, such as a noisy one.</summary>
    /// <param name="gradient"><see cref="ParameterCount"/> numbers.</param>
    void Step(ReadOnlySpan<double> gradient);

    /// <summary>Copies all parameters.</summary>
    /// <param name="destination">Receives <see cref="ParameterCount"/> numbers.</param>
    void GetParameters(Span<double> destination);

    /// <summary>Replaces all parameters; the optimiser's state stays.</summary>
    /// <param name="parameters"><see cref="ParameterCount"/> finite numbers.</param>
    void SetParameters(ReadOnlySpan<double> parameters);

    /// <summary>Everything that is needed to use the tower elsewhere, without the optimiser's state.</summary>
    /// <returns>Bytes for <see cref="ITowerFactory.Restore"/>.</returns>
    byte[] Save();

    /// <summary>Everything that is needed to go on with a training as if it had not stopped: parameters, the optimiser's moments and steps, the number of the training evaluation, and
    /// what else a training evaluation changes.</summary>
    /// <returns>Bytes for <see cref="RestoreTraining"/>, on a machine and with a number of threads like this one.</returns>
    byte[] SaveTraining();

    /// <summary>Goes on with a training: from here the same calls give the same bits that the tower which saved would have given.</summary>
    /// <param name="state">What <see cref="SaveTraining"/> of a tower of the same specification and seed gave, between a step and the next evaluation.</param>
    /// <exception cref="ArgumentException">The bytes are not those of such a tower; nothing is changed.</exception>
    void RestoreTraining(ReadOnlySpan<byte> state);

    /// <summary>Why a private mode must refuse this tower: a row whose vector depends on other rows or on a buffer that an evaluation changes.</summary>
    /// <returns>Sentences; empty when nothing was found. The towers of this library have none by construction.</returns>
    IReadOnlyList<string> PrivacyFaults();
}

/// <summary>Makes towers.</summary>
public interface ITowerFactory
{
    /// <summary>Threads that one tower computes with: a training that was cut off goes on with as many, since another number may round otherwise.</summary>
    /// <value>At least 1. Default 1.</value>
    int Threads => 1;

    /// <summary>SHA-256 of what its towers are beyond their specification, such as a module of one's own: a training that was cut off goes on with the same only.</summary>
    /// <value>32 bytes; empty (the default) where the specification says all.</value>
    ReadOnlyMemory<byte> Fingerprint => default;

    /// <summary>Makes a tower with fresh parameters.</summary>
    /// <param name="spec">The tower.</param>
    /// <param name="seed">Seed of its starting values and of dropout; the values are those of <see cref="TowerStart"/> for a shipped tower.</param>
    /// <exception cref="FedLearn.Diagnostics.FedLearnException">The tower cannot be made here, such as for want of a native library.</exception>
    ITower Create(TowerSpec spec, long seed);

    /// <summary>Makes a tower as it was saved.</summary>
    /// <param name="spec">The tower.</param>
    /// <param name="state">What <see cref="ITower.Save"/> gave.</param>
    /// <exception cref="ArgumentException">The bytes are not those of such a tower. A <see cref="FedLearn.Diagnostics.FedLearnException"/> may say so too.</exception>
    ITower Restore(TowerSpec spec, ReadOnlyMemory<byte> state);
}
