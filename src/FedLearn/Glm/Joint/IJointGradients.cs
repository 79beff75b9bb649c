using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>Finds mean gradients over a batch without any party seeing scores or residuals of another: what the modes he and he+dp need beside a job.</summary>
/// <remarks>The residual is a sum of shares, one a party: r = sum_p a_p, with a_p = alpha X_p w_p, and at the active party less its target.</remarks>
public interface IJointGradients : IAsyncDisposable
{
    /// <summary>The channel to the helper that holds the key. Its traffic is the party's; when the job fails it is told.</summary>
    IPartyChannel Arbiter { get; }

    /// <summary>Time of the rounds so far in which the party waited for others: its peers' shares and the arbiter's answers. The rest of a round is its own work.</summary>
    TimeSpan WaitTime { get; }

    /// <summary>Time of the rounds so far in which the party's engine of encryption worked: a part of what is not <see cref="WaitTime"/>.</summary>
    /// <value>Default zero: not measured.</value>
    TimeSpan EngineTime => TimeSpan.Zero;

    /// <summary>Agrees with the others on sizes, receives the key, and readies the columns. Nothing of a row is sent.</summary>
    /// <param name="rows">What the party brings.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>What was agreed on.</returns>
    Task<JointAgreement> PrepareAsync(JointRows rows, CancellationToken cancellationToken = default);

    /// <summary>One round.</summary>
    /// <param name="round">Round, from 0.</param>
    /// <param name="batch">Batch of the epoch.</param>
    /// <param name="share">This party's share of the residuals, shape [b].</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>X' r / b over this party's columns, shape [d]; in mode he+dp with noise.</returns>
    Task<double[]> GradientAsync(int round, int batch, ReadOnlyMemory<double> share, CancellationToken cancellationToken = default);
}

/// <summary>Opens the session with the helper, at the party's own side.</summary>
/// <param name="cancellationToken">Stops.</param>
public delegate Task<IJointGradients> JointGradientsFactory(CancellationToken cancellationToken);

/// <summary>What a party brings to joint gradients.</summary>
/// <param name="Layout">Batches of an epoch, the same every epoch.</param>
/// <param name="Columns">Columns, d, a free intercept's included.</param>
/// <param name="ColumnsOf">Columns of a batch, d of b numbers, one column after the other.</param>
/// <param name="TargetBound">The active party's declared bound k_y on a label; null elsewhere and where none is needed.</param>
/// <param name="Peers">At the active party a channel to each passive party; at a passive one the channel to the active party.</param>
public sealed record JointRows(BatchLayout Layout, int Columns, Func<int, double[]> ColumnsOf, double? TargetBound, IReadOnlyList<IPartyChannel> Peers);

/// <summary>What all parties of joint gradients know before round 0.</summary>
/// <param name="Columns">Columns of all parties.</param>
/// <param name="Calibration">Noise of the answers; null in mode he.</param>
/// <param name="Engine">What does the arithmetic here, for the report.</param>
/// <param name="SetupSeconds">Seconds for keys and for encoding the columns.</param>
public sealed record JointAgreement(int Columns, JointGradientCalibration? Calibration, string Engine, double SetupSeconds)
{
    /// <summary>Seconds of the training rounds in which the engine worked here: encryption, sums and products, reading and writing of ciphertexts. A part of the rounds' computing, and nothing of the setup.</summary>
    /// <value>0 before the rounds have ended.</value>
    public double EngineSeconds { get; init; }
}
