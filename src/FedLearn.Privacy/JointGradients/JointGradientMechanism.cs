using System.Diagnostics;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedLearn.Diagnostics;

namespace FedLearn.Privacy;

/// <summary>The arbiter's noise on opened sums, for one run: what it returns to parties is private against all of them together.</summary>
/// <remarks>
/// <para>An answer is v + step K + f mod M: v the opened integer, under the party's mask; K the rounded Gaussian of <see cref="INoiseSource"/>; f uniform on [0, L step)
/// minus its middle. f makes the answer mod step uniform whatever v is, and what is left is an integer plus K: exact post-processing of the Gaussian mechanism
/// (docs/proofs/he-dp.md, section 3).</para>
/// <para>Each recipient gets as many answers as the calibration has rounds, always of the same columns, and all recipients together have the calibration's columns.
/// A message is noised once: whoever sends it again must send the same bytes. Not resumable: an arbiter that has lost its state must not go on with a run. Calls of
/// several threads are served one after the other.</para>
/// </remarks>
public sealed class JointGradientMechanism
{
    private readonly INoiseSource _noise;
    private readonly IUniformSource _flooding;
    private readonly Dictionary<string, (int Columns, int Answers)> _recipients = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();
    private long _noiseTicks;

    /// <summary>Creates the mechanism of a run.</summary>
    /// <param name="calibration">The noise, and the answers it is for.</param>
    /// <param name="noise">Where the noise comes from. Seeded noise is another type, which does not fit here: see <see cref="NotPrivate"/>.</param>
    public JointGradientMechanism(JointGradientCalibration calibration, CsprngNoise noise) : this(calibration, noise, new CsprngUniform()) { }

    internal JointGradientMechanism(JointGradientCalibration calibration, INoiseSource noise, IUniformSource flooding)
    {
        ArgumentNullException.ThrowIfNull(calibration);
        ArgumentNullException.ThrowIfNull(noise);
        ArgumentNullException.ThrowIfNull(flooding);
        (Calibration, _noise, _flooding) = (calibration, noise, flooding);
    }

    /// <summary>Creates a mechanism that protects nothing: its noise is the same in every run, so that tests can repeat one.</summary>
    /// <param name="calibration">The noise, and the answers it is for.</param>
    /// <param name="noise">Seeded noise. What is made with it must say "NOT PRIVATE: test noise".</param>
    /// <param name="flooding">Seeded words for what is uniform.</param>
    public static JointGradientMechanism NotPrivate(JointGradientCalibration calibration, TestNoise noise, TestUniform flooding) => new(calibration, noise, flooding);

    /// <summary>The noise, and what it rests on.</summary>
    public JointGradientCalibration Calibration { get; }

    /// <summary>Whether the noise protects anything: false with seeded test noise.</summary>
    public bool IsSecure => _noise.IsSecure && _flooding.IsSecure;

    /// <summary>Time spent in drawing and adding noise.</summary>
    public TimeSpan NoiseTime => Stopwatch.GetElapsedTime(0, Interlocked.Read(ref _noiseTicks));

    /// <summary>Adds noise and flooding to opened sums, once, and lets them leave.</summary>
    /// <param name="recipient">The party whose masks they are under. Not empty.</param>
    /// <param name="opened">The opened integers, shape [d of the party], each in [0, M): mask plus <see cref="JointGradientParameters.Unit"/> times the sum.</param>
    /// <param name="modulus">M.</param>
    /// <param name="bytesPerAnswer">Bytes of one integer on the wire; 256 to their power at least M.</param>
    /// <param name="batchRows">Planned rows of the batch, at least <see cref="JointGradientParameters.SmallestBatch"/>.</param>
    /// <param name="name">Name of the release for the report, such as <c>mean gradients</c>.</param>
    /// <returns>The answers, little-endian, one after the other, in their order.</returns>
    /// <exception cref="PrivacyRefusedException">FL5203: a sum with its noise may not fit into [0, M); FL5204: the recipient has had all answers that the noise is
    /// calibrated for, asks for other columns than before, or the columns of all recipients are more than were calibrated for. Nothing is released.</exception>
    /// <exception cref="ArgumentException">An integer is not in [0, M), or M does not fit the bytes. Nothing is released.</exception>
    public Released<MaskedAnswers> Release(string recipient, IReadOnlyList<BigInteger> opened, BigInteger modulus, int bytesPerAnswer, int batchRows, string name)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(recipient);
        ArgumentNullException.ThrowIfNull(opened);
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytesPerAnswer);
        if (modulus.Sign <= 0 || (modulus - 1).GetByteCount(isUnsigned: true) > bytesPerAnswer)
            throw new ArgumentException("The modulus does not fit the bytes of an answer.", nameof(modulus));
        foreach (BigInteger value in opened)
            if (value.Sign < 0 || value >= modulus)
                throw new ArgumentException("An opened integer is not below the modulus.", nameof(opened));

        BigInteger step = Calibration.StepOf(batchRows), flood = Calibration.FloodOf(step);
        Calibration.CheckRoom(modulus, batchRows);
        lock (_lock)
        {
            Count(recipient, opened.Count);
            long start = Stopwatch.GetTimestamp();
            int[] noise = new int[opened.Count];
            byte[] bytes = new byte[checked(opened.Count * bytesPerAnswer)];
            try
            {
                _noise.Fill(noise);
                BigInteger middle = flood >> 1;
                for (int j = 0; j < noise.Length; j++)
                {
                    BigInteger answer = BigInteger.Remainder(opened[j] + step * noise[j] + Flooding.Below(flood, _flooding) - middle, modulus);
                    if (answer.Sign < 0)
                        answer += modulus;
                    answer.TryWriteBytes(bytes.AsSpan(j * bytesPerAnswer, bytesPerAnswer), out _, isUnsigned: true);
                }
            }
            finally
            {
                CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(noise.AsSpan()));
            }

            Interlocked.Add(ref _noiseTicks, Stopwatch.GetTimestamp() - start);
            return new(new MaskedAnswers(bytes, opened.Count), Protection.Noise, name);
        }
    }

    private void Count(string recipient, int columns)
    {
        bool known = _recipients.TryGetValue(recipient, out (int Columns, int Answers) had);
        string? fault = known && had.Columns != columns ? "it asks for other columns than before"
            : !known && _recipients.Values.Sum(r => (long)r.Columns) + columns > Calibration.Parameters.Columns ? $"the noise is calibrated for {Calibration.Parameters.Columns} columns of all parties, and there are more"
            : had.Answers >= Calibration.Releases ? $"the noise is calibrated for {Calibration.Releases} {(Calibration.Releases == 1 ? "round, and it has" : "rounds, and all have")} been answered (A6)"
            : null;
        if (fault is not null)
            throw PrivacyErrors.Refused(JointGradientErrors.AnswersSpent, $"answers to {recipient}", $"{fault}.", "Run the epochs, batches and columns that the job states; others need a new calibration.");
        _recipients[recipient] = (columns, had.Answers + 1);
    }
}
