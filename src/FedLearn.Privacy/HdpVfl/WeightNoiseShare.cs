namespace FedLearn.Privacy;

/// <summary>How weight noise is best shared between messages and gradients.</summary>
public static class WeightNoiseShare
{
    /// <summary>The share that makes the noise in the parties' gradients least.</summary>
    /// <param name="parameters">The job's public numbers.</param>
    /// <param name="side">Which party shares out its budget.</param>
    /// <param name="columns">Columns d of the party, every constant included; at least 1.</param>
    /// <returns>Part of mu^2 for the messages, above 0 and below 1; the same for every budget.</returns>
    /// <remarks>
    /// <para>Criterion: the expected squared length of the noise that the party puts into one step's mean gradients, its own and its peer's,
    /// J = h^2 sigma^2 R^2/b + d tau^2. The first part is what the message noise does at the peer, whose gradient is the mean of b rows of length
    /// R at most, each times a residual that moves by h times the noise: h = 1 for the residuals of the active party, h = U beta for scores, which
    /// move the active party's residual. The second is the party's own noise on d coordinates.</para>
    /// <para>With sigma^2 = own^2 e/(share mu^2) and tau^2 = G^2 e/((1 - share) b^2 mu^2), J is A^2/share + B^2/(1 - share) up to a factor,
    /// A = h own R/sqrt(b), B = sqrt(d) G/b, which is least at share = A/(A + B).</para>
    /// </remarks>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300, FL2302: a number out of range.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5002, FL5014: see <see cref="HdpVflParameters.Validate"/>.</exception>
    public static double Best(HdpVflParameters parameters, PartySide side, int columns)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        parameters.Validate(Calibration.WeightNoise);
        PrivacyErrors.CheckPositive(columns, "columns");
        double size = new BatchLayout(parameters.Rows, parameters.Batches).SmallestSize;
        (double own, double gradient) = HdpVflSensitivity.Visit(parameters, side);
        double messages = PeerEffect(parameters, side) * own * parameters.RowNorm / Math.Sqrt(size), gradients = Math.Sqrt(columns) * gradient / size;
        return Math.Clamp(messages / (messages + gradients), 1e-6, 1 - 1e-6);
    }

    /// <summary>J of the remarks of <see cref="Best"/>, by which calibrations of one job can be compared at one budget.</summary>
    /// <param name="parameters">The job's public numbers.</param>
    /// <param name="side">Which party's noise.</param>
    /// <param name="columns">Columns d of the party, every constant included; at least 1.</param>
    /// <param name="sigma">Deviation of its message noise, at least 0.</param>
    /// <param name="gradientSigma">Deviation tau of its gradient noise, at least 0; 0 but for weight noise.</param>
    /// <returns>Expected squared length, in units of a squared gradient; with the smallest batch.</returns>
    public static double GradientNoise(HdpVflParameters parameters, PartySide side, int columns, double sigma, double gradientSigma)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        double size = new BatchLayout(parameters.Rows, parameters.Batches).SmallestSize, message = PeerEffect(parameters, side) * sigma * parameters.RowNorm;
        return message * message / size + columns * gradientSigma * gradientSigma;
    }

    /// <summary>h: by how much a unit of noise on a message moves the residual in the peer's gradient.</summary>
    private static double PeerEffect(HdpVflParameters p, PartySide side) => side == PartySide.Active ? 1 : p.Smoothness;
}
